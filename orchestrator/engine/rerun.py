"""Rerun: a new run of the same function, by the version it has now, from the events that started another one.

From its beginning, or from one of its steps: then everything that was memoised before that step was first asked for is
taken over, and the step, with whatever came while it was under way, is done again.  So of parallel branches those steps
are kept that were over when the step began, and no other.

A rerun has its limits on concurrency, its throttle and its priority, like any run.  What lets a start fall out (rate
limit, idempotency, debounce, batching, singleton) was answered when the original was started, and does not count here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from orchestrator import log
from orchestrator.core.effect import Record, Status
from orchestrator.drivers.local import app_of
from orchestrator.engine.outcome import Outcome, Start
from orchestrator.engine.parts import Parts
from orchestrator.engine.start import after, start_of, write
from orchestrator.errors import ConflictError, NotFoundError, RequestError
from orchestrator.ids import new_ulid
from orchestrator.store import audit, batches, events, functions, history, reruns, runs, steps
from orchestrator.store.apply import Holder
from orchestrator.store.database import Connection
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.events import StoredEvent
from orchestrator.store.functions import StoredFunction
from orchestrator.store.reruns import Rerun
from orchestrator.store.runs import NewRun, StoredRun
from orchestrator.store.steps import StoredStep

_log = log.get(__name__)

#: As the wire bounds the input of a step.
MAX_INPUT = 4 * 1024 * 1024
#: Steps whose bodies have an input that can be another one.
_WITH_INPUT = ("StepRun", "AIGateway")
#: The SDK that takes another input; functions in process do, too.
_TAKES_INPUT = "js"


@dataclass(frozen=True, slots=True)
class FromStep:
    """Where a rerun begins: at a step, by its id, or by its name if only one has it."""

    step: str
    #: A JSON array: the step's arguments, in place of its own.
    input: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """What is run again, by whose order if it is one of many."""

    run: StoredRun
    function: StoredFunction
    event: StoredEvent
    step: StoredStep | None = None
    input: str | None = None
    order_id: str | None = None

    @property
    def kept(self) -> int:
        """How many outcomes the new run takes over."""
        return (self.step.before or 0) if self.step is not None else 0

    def about(self) -> dict[str, object]:
        """What the new run's story says."""
        told: dict[str, object] = {"run": self.run.id}
        if self.step is not None:
            told |= {"from_step": self.step.name, "steps_kept": self.kept, "input": self.input is not None}
        return told | ({"order": self.order_id} if self.order_id is not None else {})


@undisturbed
def rerun(parts: Parts, run_id: str, from_step: FromStep | None = None, actor: str | None = None) -> str:
    """Run again what a run did, whatever became of that; returns the new run's id.

    Asked twice it makes two runs.  Raises `NotFoundError` (no such run, no such step), `ConflictError` (its function or
    its events are gone, or the step takes no other input) or `RequestError`.
    """
    if from_step is not None and from_step.input is not None:
        _check_input(from_step.input)
    by = parts.holder()
    with parts.database.write() as conn:
        origin = Origins(conn, [run_id]).get(run_id)
        if from_step is not None:
            origin = _from_step(conn, origin, from_step)
        start = start_again(parts, conn, origin, by)
        outcome = Outcome(origin.event, [start])
        _, hints = write(conn, [outcome], set(), by)
        note(conn, [(origin, start.run.id)], by)
        told = {"run": start.run.id, "from_step": origin.step.name} if origin.step else {"run": start.run.id}
        audit.record(conn, "run rerun", run_id, by.now, actor=actor, data=told)
    after(parts, [outcome], hints)
    tell_rerun(origin, start)
    return start.run.id


def takes_input(conn: Connection, function: StoredFunction, op: str | None) -> bool:
    """Whether a step of this op of the function can be given another input when it is run again."""
    app = functions.app_by_id(conn, function.app_id)
    in_process = app is not None and app_of(app.url) is not None
    return op in _WITH_INPUT and app is not None and (in_process or app.sdk_language == _TAKES_INPUT)


class Origins:
    """What some runs were started with, read together."""

    def __init__(self, conn: Connection, run_ids: Sequence[str]) -> None:
        self._runs = {run.id: run for run in runs.some(conn, run_ids)}
        function_ids = {run.function_id for run in self._runs.values()}
        self._functions = {it: functions.function(conn, it) for it in function_ids}
        self._events = {it.id: it for it in events.load(conn, sorted({run.event_id for run in self._runs.values()}))}
        batch_ids = {run.batch_id for run in self._runs.values() if run.batch_id is not None}
        self._empty = {it for it in batch_ids if not batches.event_ids(conn, it)}

    def get(self, run_id: str, order_id: str | None = None) -> Origin:
        """What this one was started with.  Raises `NotFoundError`, or `ConflictError` where that is gone."""
        run = self._runs.get(run_id)
        if run is None:
            raise NotFoundError(f"there is no run {run_id}")
        function = self._functions[run.function_id]
        if function is None or function.archived_at is not None:
            slug = function.slug if function is not None else run.function_id
            raise ConflictError(
                f"the function {slug} is no longer served by its app, so run {run_id} cannot be run again; "
                "deploy and sync an app that has it"
            )
        event = self._events.get(run.event_id)
        if event is None or run.batch_id in self._empty:
            raise ConflictError(f"the events of run {run_id} were deleted (retention), so it cannot be run again")
        return Origin(run, function, event, order_id=order_id)


def start_again(parts: Parts, conn: Connection, origin: Origin, by: Holder) -> Start:
    """The run that runs it again, to be written."""
    run, function = origin.run, origin.function
    new = NewRun(
        new_ulid(),
        run.function_id,
        function.version,
        run.event_id,
        run.event_name,
        Status.QUEUED,
        queued_at=by.now,
        batch_id=run.batch_id,
        original_run_id=run.id,
    )
    declared = parts.versions.function(conn, run.function_id, function.version)
    start, _ = start_of(declared, new, origin.event, by.now, function.slug, by.now, paused=False)
    asked = start.asked.as_rerun() if start.asked is not None else None
    return replace(start, asked=asked, external_id=None, came_at=by.now)


def note(conn: Connection, made: Sequence[tuple[Origin, str]], by: Holder) -> None:
    """Write what new runs take over and where they come from, into their stories and the originals'."""
    reruns.add(conn, [_rerun(origin, run_id) for origin, run_id in made])
    stories = list[tuple[str, Record]]()
    for origin, run_id in made:
        if origin.kept:
            steps.take_over(conn, origin.run.id, run_id, origin.kept)
        step_id = origin.step.id if origin.step is not None else None
        stories.append((run_id, Record("rerun of", step_id, data=orjson.dumps(origin.about()).decode())))
        stories.append((origin.run.id, Record("rerun as", step_id, data=orjson.dumps({"run": run_id}).decode())))
    history.add_to_many(conn, stories, by.now)


def tell_rerun(origin: Origin, start: Start) -> None:
    """Tell the log of a new run, after the commit."""
    new, original, kept = start.run.id, origin.run.id, origin.kept
    _log.info("run rerun", run_id=new, function=start.slug, original=original, kept=kept, held=start.held)


def _rerun(origin: Origin, run_id: str) -> Rerun:
    step_id = origin.step.id if origin.step is not None else None
    return Rerun(run_id, origin.run.id, step_id, origin.input, origin.order_id)


def _from_step(conn: Connection, origin: Origin, wanted: FromStep) -> Origin:
    found = steps.found(conn, origin.run.id, wanted.step)
    if not found:
        raise NotFoundError(f"run {origin.run.id} has no step {wanted.step}")
    if len(found) > 1:
        ids = ", ".join(step.id for step in found)
        raise ConflictError(f"run {origin.run.id} has several steps {wanted.step}; name one by its id: {ids}")
    [step] = found
    if step.before is None:
        raise ConflictError(
            f"step {step.name} of run {origin.run.id} has not begun anywhere that could be gone back to"
        )
    if wanted.input is not None:
        _check_takes_input(conn, origin.function, step)
    return replace(origin, step=step, input=wanted.input)


def _check_takes_input(conn: Connection, function: StoredFunction, step: StoredStep) -> None:
    if step.op not in _WITH_INPUT:
        raise ConflictError(f"step {step.name} is a {step.op}, which has no input that could be another one")
    if not takes_input(conn, function, step.op):
        app = functions.app_by_id(conn, function.app_id)
        language = app.sdk_language if app is not None else None
        raise ConflictError(
            f"the app's SDK ({language or 'unknown'}) has no way to give a step another input; the TypeScript SDK has, "
            "and so have functions in process.  Without an input the run can be run again from this step"
        )


def _check_input(text: str) -> None:
    if len(text.encode()) > MAX_INPUT:
        raise RequestError(f"input must have at most {MAX_INPUT} bytes")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise RequestError("input must be JSON: an array of the step's arguments") from None
    if not isinstance(value, list):
        raise RequestError('input must be an array of the step\'s arguments, such as [7, "express"]')
