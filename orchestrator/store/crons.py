"""Cron jobs: one row for each cron line of each function, whose `run_at` is the line's next tick.

A tick is taken by moving the row on to the next one, fenced by the generation that was read; whoever comes second
finds another generation and writes nothing.  The function's row is locked before the job, as registering does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection, bindparam, delete, select, update

from orchestrator.store import gates, jobs
from orchestrator.store.jobs import Hint
from orchestrator.store.tables import functions, triggers
from orchestrator.store.tables import jobs as table

CRON = "cron"
#: Kinds of jobs that go off at their time and are done without a lease, as are match jobs.
TIMED = frozenset({CRON, gates.BATCH, gates.DEBOUNCE, gates.THROTTLE})
#: Kinds of jobs that the runner does.
UNLEASED = TIMED | {jobs.MATCH}

_BY_ID = table.c.id == bindparam("job_id")
_READY = jobs.THIS_IS_READY
_FENCE = (_BY_ID, _READY, table.c.generation == bindparam("read_generation"))
_DUE = select(table).where(_BY_ID, _READY, table.c.run_at <= bindparam("now"))
_MOVE = (
    update(table)
    .where(*_FENCE)
    .values(
        run_at=bindparam("next_at"),
        payload=bindparam("next_payload"),
        generation=table.c.generation + 1,
        crashes=0,
        error=None,
        announced_at=None,
    )
)
_END = delete(table).where(*_FENCE)
_PUT_OFF = (
    update(table)
    .where(_BY_ID, _READY, table.c.run_at <= bindparam("now"))
    .values(run_at=bindparam("at"), error=bindparam("why"), crashes=table.c.crashes + 1, announced_at=None)
)
_LINES = (
    select(triggers.c.function_id, triggers.c.cron)
    .join(functions, functions.c.id == triggers.c.function_id)
    .where(functions.c.app_id == bindparam("of_app"), triggers.c.cron.is_not(None))
    .order_by(triggers.c.function_id, triggers.c.position)
)
_TARGET = (
    select(functions.c.id, functions.c.slug, functions.c.version, functions.c.paused_at)
    .where(functions.c.id == bindparam("function"), functions.c.archived_at.is_(None))
    .with_for_update(read=True)
)
_DECLARED = select(triggers.c.position).where(
    triggers.c.function_id == bindparam("function"), triggers.c.cron == bindparam("line")
)
_BY_KEYS = table.c.key.in_(bindparam("keys", expanding=True))


@dataclass(frozen=True, slots=True)
class CronLine:
    """A cron line of a function."""

    function_id: str
    line: str

    @property
    def key(self) -> str:
        """The key of its job."""
        return f"cron:{self.function_id}:{hashlib.sha256(self.line.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class CronJob:
    """A tick to be taken."""

    job_id: int
    generation: int
    cron: CronLine
    tick: datetime


@dataclass(frozen=True, slots=True)
class Target:
    """The function that a tick starts."""

    function_id: str
    slug: str
    version: int
    paused: bool = False


def lines_of(conn: Connection, app_id: str) -> list[CronLine]:
    """The cron lines of an app's functions, as registered at present."""
    return [CronLine(row.function_id, row.cron) for row in conn.execute(_LINES, {"of_app": app_id})]


def planned(conn: Connection, lines: Sequence[CronLine]) -> set[CronLine]:
    """Those of the lines that have a job."""
    rows = conn.execute(select(table.c.key).where(_BY_KEYS), {"keys": [line.key for line in lines]})
    keys = {row.key for row in rows}
    return {line for line in lines if line.key in keys}


def plan(conn: Connection, line: CronLine, tick: datetime) -> Hint:
    """Make the job of a line that has none."""
    return jobs.add(conn, CRON, line.key, tick, payload=_payload(line, tick))


def unplan(conn: Connection, lines: Sequence[CronLine]) -> None:
    """Delete the jobs of lines."""
    conn.execute(delete(table).where(_BY_KEYS), {"keys": [line.key for line in lines]})


def due(conn: Connection, job_id: int, now: datetime) -> CronJob | None:
    """The job, if its time has come."""
    row = conn.execute(_DUE, {"job_id": job_id, "now": now}).first()
    if row is None:
        return None
    carried = orjson.loads(row.payload)
    line = CronLine(carried["function_id"], carried["line"])
    return CronJob(row.id, row.generation, line, datetime.fromisoformat(carried["tick"]))


def target(conn: Connection, line: CronLine) -> Target | None:
    """The line's function, locked against registering; None: it does not have this line any more."""
    row = conn.execute(_TARGET, {"function": line.function_id}).first()
    values = {"function": line.function_id, "line": line.line}
    if row is None or conn.execute(_DECLARED, values).first() is None:
        return None
    return Target(row.id, row.slug, row.version, row.paused_at is not None)


def move(conn: Connection, job: CronJob, tick: datetime) -> bool:
    """Take the job's tick and make `tick` the next one; False when somebody else did (then write nothing else)."""
    payload = _payload(job.cron, tick)
    return conn.execute(_MOVE, _fence(job) | {"next_at": tick, "next_payload": payload}).rowcount == 1


def end(conn: Connection, job: CronJob) -> bool:
    """Delete the job, as there is no next tick; False when somebody else took it."""
    return conn.execute(_END, _fence(job)).rowcount == 1


def put_off(conn: Connection, job_id: int, now: datetime, wait: timedelta, why: str) -> None:
    """Note that we failed at a due job, which comes back after `wait`: a line never falls silent for our faults."""
    conn.execute(_PUT_OFF, {"job_id": job_id, "now": now, "at": now + wait, "why": why})


def _fence(job: CronJob) -> dict[str, object]:
    return {"job_id": job.job_id, "read_generation": job.generation}


def _payload(line: CronLine, tick: datetime) -> str:
    return orjson.dumps({"function_id": line.function_id, "line": line.line, "tick": tick.isoformat()}).decode()
