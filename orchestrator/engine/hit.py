"""Find the pauses that an event hits: candidates by the index, then the expression of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import compile_expression
from orchestrator.expressions.index import term_key, value_at
from orchestrator.expressions.stored import value_of
from orchestrator.store import jobs, pauses
from orchestrator.store.apply import Holder, resume_row
from orchestrator.store.database import Connection
from orchestrator.store.events import StoredEvent
from orchestrator.store.jobs import Hint, Lease
from orchestrator.store.pauses import Candidate

#: No ULID is smaller.
_FIRST = "0" * 26
#: What went wrong is kept with the event, so many times at most.
_MOST_WARNINGS = 5


@dataclass(frozen=True, slots=True)
class Hit:
    """An event satisfies a pause: its step gets the event, or its run is cancelled."""

    pause_id: str
    run_id: str
    step_id: str | None
    event_id: str


@dataclass(frozen=True, slots=True)
class InvocationKey:
    """The function that an event invokes, and for which run and step; None: somebody outside wants it."""

    function: str
    correlation_id: str | None
    #: The id that the run was promised.
    run_id: str | None = None


class _About(msgspec.Struct, frozen=True):
    fn_id: str
    correlation_id: str | None = None
    run_id: str | None = None


class _Data(msgspec.Struct, frozen=True):
    about: _About = msgspec.field(name="_inngest")


class _Invoked(msgspec.Struct, frozen=True):
    data: _Data


def hits_of(conn: Connection, event: StoredEvent) -> tuple[list[Hit], list[str]]:
    """The pauses that the event hits, and the conditions that could not be evaluated.

    Only events newer than the one that started a run count, so that none hits its own run.
    """
    hits, warnings = list[Hit](), list[str]()
    value: Any = None
    for candidate in _candidates(conn, event):
        if not candidate.precedes(event.received_at, event.id):
            continue
        value = value if value is not None else value_of(event.payload)
        try:
            if agrees(candidate, value):
                hits.append(Hit(candidate.id, candidate.run_id, candidate.step_id, event.id))
        except ExpressionError as error:
            if len(warnings) < _MOST_WARNINGS:
                warnings.append(f"pause of run {candidate.run_id}: {error.message}")
    return hits, warnings


def agrees(candidate: Candidate, event: Any) -> bool:
    """Whether an event (decoded) satisfies the condition of a pause.  Raises `ExpressionError`."""
    if not candidate.expression:
        return True
    return compile_expression(candidate.expression).truth(value_of(candidate.event), event)


def write_hits(conn: Connection, hits: Sequence[Hit], by: Holder, room: int = 0) -> tuple[list[Lease], list[Hint]]:
    """Take the pauses that are still there, and add the jobs that tell their runs; the first event of each wins.

    Of the jobs that resume runs the first ones, `room` at most, are leased to `by`.
    """
    if not hits:
        return [], []
    first = dict[str, Hit]()
    for hit in hits:
        first.setdefault(hit.pause_id, hit)
    taken = pauses.take(conn, sorted(first))
    told = [hit for hit in first.values() if hit.pause_id in taken]
    resumes = [
        resume_row(hit.pause_id, hit.run_id, hit.step_id, {"event": hit.event_id}, by.now)
        for hit in told
        if hit.step_id is not None
    ]
    cancels = [
        jobs.new_row(jobs.CANCEL, f"cancel:{hit.pause_id}", by.now, hit.run_id, None, hit.event_id)
        for hit in told
        if hit.step_id is None
    ]
    leases, hints = jobs.add_all(conn, resumes, by.owner, by.until, room)
    return leases, hints + jobs.add_all(conn, cancels, by.owner, by.until, room=0)[1]


def invocation_in(event: StoredEvent) -> InvocationKey | None:
    """What an event of the server's own invokes."""
    try:
        about = msgspec.json.decode(event.payload, type=_Invoked).data.about
    except msgspec.MsgspecError:
        return None
    return InvocationKey(about.fn_id, about.correlation_id, about.run_id)


def _candidates(conn: Connection, event: StoredEvent) -> Iterator[Candidate]:
    value: Any = None
    for path in pauses.paths(conn, event.name):
        key: str | None = ""
        if path:
            value = value if value is not None else value_of(event.payload)
            key = term_key(value_at(value, tuple(orjson.loads(path))))
        if key is not None:
            yield from _with_term(conn, event, path, key)


def _with_term(conn: Connection, event: StoredEvent, path: str, key: str) -> Iterator[Candidate]:
    after = _FIRST
    while page := pauses.candidates(conn, event.name, path, key, event.received_at, after):
        yield from page
        if len(page) < pauses.PAGE:
            return
        after = page[-1].id
