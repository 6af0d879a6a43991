"""The queue as JSON, and for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping

from marshmallow import Schema, fields

from orchestrator.api.render import Shape, moment
from orchestrator.engine.survey import Line, Survey, Wait, Worker
from orchestrator.store.filters import Count


class CountShape(Schema):
    """How many; where that is not exact there are more."""

    number = fields.Integer(required=True)
    exact = fields.Boolean(required=True)


class CountsShape(Schema):
    """The jobs by what becomes of them now."""

    due = fields.Nested(CountShape, required=True, metadata={"description": "Could be done now, by any worker"})
    working = fields.Nested(CountShape, required=True, metadata={"description": "Workers have them in hand"})
    parked = fields.Nested(CountShape, required=True, metadata={"description": "Wait for a slot of a limit"})
    held = fields.Nested(CountShape, required=True, metadata={"description": "Held by a throttle or a pause"})
    later = fields.Nested(CountShape, required=True, metadata={"description": "Have a time to come"})
    dead = fields.Nested(CountShape, required=True, metadata={"description": "Were given up"})


class LineShape(Schema):
    """The jobs of one function; without one, those that match events, or crons and timers (`own`)."""

    function = fields.String(required=True, allow_none=True)
    own = fields.String(required=True, allow_none=True)
    due = fields.Integer(required=True)
    working = fields.Integer(required=True)
    parked = fields.Integer(required=True)
    held = fields.Integer(required=True)
    later = fields.Integer(required=True)


class QueueWaitShape(Schema):
    """Why jobs wait; `key` and what follows are those of a limit."""

    kind = fields.String(required=True, metadata={"description": "slot, throttle, paused, debounce or batch"})
    sentence = fields.String(required=True)
    function = fields.String(required=True, allow_none=True, metadata={"description": "None: several share the limit"})
    waiting = fields.Integer(required=True)
    until = fields.AwareDateTime(required=True, allow_none=True)
    key = fields.String(required=True, allow_none=True)
    value = fields.String(required=True, allow_none=True)
    used = fields.Integer(required=True, allow_none=True)
    allowed = fields.Integer(required=True, allow_none=True)
    run_ids = fields.List(fields.String(), required=True, metadata={"description": "Some that are in the way"})


class WorkerShape(Schema):
    """A process that works, or that was killed within the hour."""

    host = fields.String(required=True)
    pid = fields.Integer(required=True)
    alive = fields.Boolean(required=True)
    version = fields.String(required=True)
    executors = fields.Integer(required=True, metadata={"description": "Calls that it can make at once"})
    working = fields.Integer(required=True, metadata={"description": "Jobs that it has in hand"})
    run_ids = fields.List(fields.String(), required=True, metadata={"description": "Of some of these jobs"})
    started_at = fields.AwareDateTime(required=True)
    seen_at = fields.AwareDateTime(required=True)


class DatabaseShape(Schema):
    """The database."""

    product = fields.String(required=True)
    place = fields.String(required=True)
    connections = fields.Integer(required=True, allow_none=True)
    most_connections = fields.Integer(required=True, allow_none=True)


class BrokerShape(Schema):
    """The broker; `reachable` is null where there is none to reach."""

    kind = fields.String(required=True)
    reachable = fields.Boolean(required=True, allow_none=True)
    place = fields.String(required=True)
    product = fields.String(required=True)
    queues = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(allow_none=True),
        required=True,
        metadata={"description": "Hints that wait, by queue; null: nobody has made the queue yet"},
    )
    problem = fields.String(required=True)
    way_out = fields.String(required=True)


class QueueShape(Schema):
    """What there is to do, why it waits, who works, and how database and broker are."""

    oldest_due_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "Since when the job that waits longest is due"}
    )
    counts = fields.Nested(CountsShape, required=True)
    sleeping = fields.Integer(required=True, metadata={"description": "Of those counted as later: steps that sleep"})
    waiting = fields.Integer(required=True, metadata={"description": "Of those: waits with a time-out"})
    functions = fields.List(fields.Nested(LineShape), required=True)
    waits = fields.List(fields.Nested(QueueWaitShape), required=True)
    workers = fields.List(fields.Nested(WorkerShape), required=True)
    executors = fields.Integer(required=True, metadata={"description": "Calls that all workers can make at once"})
    database = fields.Nested(DatabaseShape, required=True)
    broker = fields.Nested(BrokerShape, required=True)


def queue_shape(survey: Survey) -> Shape:
    """Write what a survey saw."""
    database, broker = survey.database, survey.broker
    most, used = database.connections or (None, None)
    return {
        "oldest_due_at": moment(survey.oldest_due_at),
        "counts": {name: _count(count) for name, count in _counts(survey).items()},
        "sleeping": survey.sleeping,
        "waiting": survey.waiting,
        "functions": [_line(it) for it in survey.lines],
        "waits": [_wait(it) for it in survey.waits],
        "workers": [_worker(it) for it in survey.workers],
        "executors": survey.executors,
        "database": {
            "product": database.product,
            "place": database.place,
            "connections": used,
            "most_connections": most,
        },
        "broker": {
            "kind": broker.kind,
            "reachable": broker.reachable,
            "place": broker.place,
            "product": broker.product,
            "queues": dict(broker.queues),
            "problem": broker.problem,
            "way_out": broker.way_out,
        },
    }


def _counts(survey: Survey) -> Mapping[str, Count]:
    return {
        "due": survey.due,
        "working": survey.working,
        "parked": survey.parked,
        "held": survey.held,
        "later": survey.later,
        "dead": survey.dead,
    }


def _count(count: Count) -> Shape:
    return {"number": count.number, "exact": count.exact}


def _line(line: Line) -> Shape:
    return {
        "function": line.function.slug if line.function is not None else None,
        "own": line.own or None,
        "due": line.due,
        "working": line.working,
        "parked": line.parked,
        "held": line.held,
        "later": line.later,
    }


def _wait(wait: Wait) -> Shape:
    crowd = wait.crowd
    return {
        "kind": wait.kind,
        "sentence": wait.sentence,
        "function": wait.function.slug if wait.function is not None else None,
        "waiting": wait.waiting,
        "until": moment(wait.until),
        "key": crowd.expression if crowd is not None else None,
        "value": crowd.value if crowd is not None else None,
        "used": crowd.used if crowd is not None else None,
        "allowed": crowd.allowed if crowd is not None else None,
        "run_ids": list(wait.run_ids),
    }


def _worker(worker: Worker) -> Shape:
    sign = worker.sign
    return {
        "host": sign.host,
        "pid": sign.pid,
        "alive": worker.alive,
        "version": sign.version,
        "executors": sign.executors,
        "working": worker.working,
        "run_ids": list(dict.fromkeys(it.job.run_id for it in worker.works if it.job.run_id is not None)),
        "started_at": moment(sign.started_at),
        "seen_at": moment(sign.seen_at),
    }
