"""Pauses: runs waiting for an event, a signal or an invoked run, and events that cancel runs.

Theory.  A pause that is hit is deleted in the transaction that adds the job which tells its run.  So the row is the
right to give an answer: of an event, a timeout and a second event that come together, the one that deletes it wins, and
the others find nothing.  Who deletes several locks them in the order of their ids.

Candidates for an event come by one index: a pause is stored under one thing its expression demands (`term_path`,
`term_key`), and an event asks for the few places that pauses on its name look at, with its own values there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, update

from orchestrator.store.changing import OrderedDelete
from orchestrator.store.tables import events, jobs, pauses, runs

#: Kinds.
EVENT = "event"
INVOKE = "invoke"
SIGNAL = "signal"
CANCEL = "cancel"
#: The most candidates read at once.
PAGE = 500
#: A longer path is not used for the index.
MAX_PATH = 255


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause to be written; `path` and `key` are its term."""

    id: str
    kind: str
    run_id: str
    expires_at: datetime
    step_id: str | None = None
    event_name: str | None = None
    expression: str | None = None
    path: str = ""
    key: str = ""
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pause an event may hit, with the event that started its run."""

    id: str
    kind: str
    run_id: str
    step_id: str | None
    expression: str | None
    #: What came before cannot hit it: the run's event and when we received it, or the run where that was run again.
    since: str
    since_at: datetime
    #: The event's wire text.
    event: str
    event_name: str | None = None

    def precedes(self, received_at: datetime, event_id: str) -> bool:
        """Whether an event is newer than what came before: by our clock, since senders name events by theirs."""
        return (self.since_at, self.since) < (received_at, event_id)


@dataclass(frozen=True, slots=True)
class EventWait:
    """An event that a run waits for."""

    event_name: str | None
    expression: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Waiter:
    """Whose pause it was."""

    id: str
    run_id: str
    step_id: str


_INSERT = insert(pauses)
# In the order of the index, which must be used also where nearly all pauses have one name.
_WAITS = (
    select(pauses.c.id)
    .where(pauses.c.event_name == bindparam("name"))
    .order_by(pauses.c.event_name, pauses.c.term_path)
    .limit(1)
)
_JOINED = (
    select(
        pauses.c.id,
        pauses.c.kind,
        pauses.c.run_id,
        pauses.c.step_id,
        pauses.c.expression,
        pauses.c.event_name,
        case((runs.c.original_run_id.is_(None), runs.c.event_id), else_=runs.c.id).label("since"),
        case((runs.c.original_run_id.is_(None), events.c.received_at), else_=runs.c.queued_at).label("since_at"),
        events.c.payload,
    )
    .join(runs, runs.c.id == pauses.c.run_id)
    .join(events, events.c.id == runs.c.event_id)
)
_CANDIDATES = (
    _JOINED.where(
        pauses.c.event_name == bindparam("name"),
        pauses.c.term_path == bindparam("path"),
        pauses.c.term_key == bindparam("key"),
        pauses.c.id > bindparam("after"),
        pauses.c.expires_at > bindparam("at"),
    )
    .order_by(pauses.c.id)
    .limit(PAGE)
)
_ONE = _JOINED.where(pauses.c.id == bindparam("of_id"))
_OF_STEP = select(pauses.c.id).where(
    pauses.c.run_id == bindparam("of_run"), pauses.c.step_id == bindparam("of_step"), pauses.c.kind == bindparam("what")
)
_EVENT_WAITS = (
    select(pauses.c.run_id, pauses.c.event_name, pauses.c.expression, pauses.c.expires_at)
    .where(pauses.c.run_id.in_(bindparam("of_runs", expanding=True)), pauses.c.kind == bindparam("what"))
    .order_by(pauses.c.run_id, pauses.c.id)
)
_OF_RUN = pauses.c.run_id == bindparam("of_run")
_CLOSE = delete(pauses).where(_OF_RUN, pauses.c.step_id == bindparam("of_step"))
_CLOSE_ALL = OrderedDelete(pauses, _OF_RUN)
_CLOSE_ALL_OF_RUNS = OrderedDelete(pauses, pauses.c.run_id.in_(bindparam("of_runs", expanding=True)))
_LOCK = (
    select(pauses.c.id).where(pauses.c.id.in_(bindparam("ids", expanding=True))).order_by(pauses.c.id).with_for_update()
)
_DELETE = delete(pauses).where(pauses.c.id.in_(bindparam("ids", expanding=True)))
_SIGNAL = select(pauses.c.id, pauses.c.run_id, pauses.c.step_id).where(pauses.c.key == bindparam("of_key"))


def _paths() -> Any:
    """The distinct places of one event name, each found by one step in the index, however many pauses there are."""
    of_name = pauses.c.event_name == bindparam("name")
    first = select(func.min(pauses.c.term_path).label("path")).where(of_name)
    found = first.cte("found", recursive=True)
    following = select(func.min(pauses.c.term_path)).where(of_name, pauses.c.term_path > found.c.path).scalar_subquery()
    found = found.union_all(select(following).where(found.c.path.is_not(None)))
    return select(found.c.path).where(found.c.path.is_not(None))


_PATHS = _paths()


def add(conn: Connection, new: Sequence[Pause], now: datetime) -> None:
    """Write pauses.  A second one for the same signal is refused by its key."""
    if new:
        conn.execute(_INSERT, [_row(pause, now) for pause in new])


def anyone_waits(conn: Connection, name: str) -> bool:
    """Whether a pause on this event name exists."""
    return conn.execute(_WAITS, {"name": name}).first() is not None


def paths(conn: Connection, name: str) -> list[str]:
    """The places in an event that pauses on this name look at; the empty one stands for those without a term."""
    return [row.path for row in conn.execute(_PATHS, {"name": name})]


def candidates(conn: Connection, name: str, path: str, key: str, at: datetime, after: str) -> list[Candidate]:
    """A page of the pauses on this name with this term that are not over at `at`, after the pause with this id."""
    values = {"name": name, "path": path, "key": key, "at": at, "after": after}
    return [_candidate(row) for row in conn.execute(_CANDIDATES, values)]


def get(conn: Connection, pause_id: str) -> Candidate | None:
    """One pause; None: it is over."""
    row = conn.execute(_ONE, {"of_id": pause_id}).first()
    return _candidate(row) if row is not None else None


def of_step(conn: Connection, run_id: str, step_id: str, kind: str) -> str | None:
    """The id of the pause of this kind that a step stands at."""
    row = conn.execute(_OF_STEP, {"of_run": run_id, "of_step": step_id, "what": kind}).first()
    return row.id if row is not None else None


def event_waits(conn: Connection, run_ids: Sequence[str]) -> Mapping[str, EventWait]:
    """The first event that each of these runs waits for."""
    found = dict[str, EventWait]()
    for row in conn.execute(_EVENT_WAITS, {"of_runs": list(run_ids), "what": EVENT}):
        found.setdefault(row.run_id, EventWait(row.event_name, row.expression, row.expires_at))
    return found


def take(conn: Connection, ids: Sequence[str]) -> set[str]:
    """Delete these pauses; returns those that were there: their runs are the caller's to tell."""
    taken = set[str]()
    for at in range(0, len(ids), PAGE):
        found = [row.id for row in conn.execute(_LOCK, {"ids": sorted(ids[at : at + PAGE])})]
        if found:
            conn.execute(_DELETE, {"ids": found})
            taken.update(found)
    return taken


def take_signal(conn: Connection, signal: str) -> Waiter | None:
    """Delete the pause that waits for a signal; returns whose it was."""
    waiter = waiting_for(conn, signal, lock=True)
    if waiter is None:
        return None
    return waiter if take(conn, [waiter.id]) else None


def waiting_for(conn: Connection, signal: str, *, lock: bool = False) -> Waiter | None:
    """Whose pause waits for a signal."""
    query = _SIGNAL.with_for_update() if lock else _SIGNAL
    row = conn.execute(query, {"of_key": _signal_key(signal)}).first()
    return Waiter(row.id, row.run_id, row.step_id) if row is not None else None


def give_up_signal(conn: Connection, signal: str) -> None:
    """Let whoever waits for a signal wait in vain: it is somebody else's from now on."""
    conn.execute(update(pauses).where(pauses.c.key == _signal_key(signal)).values(key=None))


def close(conn: Connection, run_id: str, step_id: str) -> bool:
    """Delete the pause of a step; False: there is none, so that somebody has given it its answer."""
    return conn.execute(_CLOSE, {"of_run": run_id, "of_step": step_id}).rowcount > 0


def close_all_of_run(conn: Connection, run_id: str) -> None:
    """Delete every pause of a run: it is over."""
    _CLOSE_ALL.run(conn, {"of_run": run_id})


def close_all_of_runs(conn: Connection, run_ids: Sequence[str]) -> None:
    """Delete every pause of these runs: they are over."""
    _CLOSE_ALL_OF_RUNS.run(conn, {"of_runs": list(run_ids)})


def timeout_key(run_id: str, step_id: str) -> str:
    """The key of the job that ends a step's pause when nothing came."""
    return f"timeout:{run_id}:{step_id}"


def drop_timeout(conn: Connection, run_id: str, step_id: str) -> None:
    """Delete that job: the pause has its answer.  The caller has locked the run."""
    conn.execute(delete(jobs).where(jobs.c.key == timeout_key(run_id, step_id)))


def _signal_key(signal: str) -> str:
    return "signal:" + hashlib.sha256(signal.encode("utf-8", "surrogatepass")).hexdigest()


def _row(pause: Pause, now: datetime) -> dict[str, Any]:
    return {
        "id": pause.id,
        "kind": pause.kind,
        "run_id": pause.run_id,
        "step_id": pause.step_id,
        "event_name": pause.event_name,
        "expression": pause.expression,
        "term_path": pause.path,
        "term_key": pause.key,
        "key": _signal_key(pause.signal) if pause.signal is not None else None,
        "expires_at": pause.expires_at,
        "created_at": now,
    }


def _candidate(row: Any) -> Candidate:
    since = (row.since, row.since_at)
    return Candidate(row.id, row.kind, row.run_id, row.step_id, row.expression, *since, row.payload, row.event_name)
