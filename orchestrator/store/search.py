"""Runs as lists show them, many at a time.

A page of a search is made in two steps: first the ids are found (`store.run_places`), then the rows of those few read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, bindparam, select

from orchestrator.core.effect import Status
from orchestrator.core.event import SCHEDULED_TIMER
from orchestrator.store.tables import apps, batch_events, events, functions, runs

_ROWS = (
    select(
        runs.c.id,
        runs.c.status,
        runs.c.function_id,
        runs.c.function_version,
        runs.c.event_id,
        runs.c.event_name,
        runs.c.batch_id,
        runs.c.queued_at,
        runs.c.started_at,
        runs.c.ended_at,
        runs.c.correlation_id,
        runs.c.requeues,
        functions.c.slug,
        functions.c.name,
        functions.c.app_id,
        apps.c.name.label("app_name"),
    )
    .outerjoin(functions, functions.c.id == runs.c.function_id)
    .outerjoin(apps, apps.c.id == functions.c.app_id)
)
_BY_IDS = _ROWS.where(runs.c.id.in_(bindparam("ids", expanding=True)))
_OUTPUTS = select(runs.c.id, runs.c.status, runs.c.output, runs.c.error).where(
    runs.c.id.in_(bindparam("ids", expanding=True))
)
_PAYLOADS = select(events.c.id, events.c.payload).where(events.c.id.in_(bindparam("ids", expanding=True)))
_IN_BATCHES = select(batch_events.c.batch_id, batch_events.c.event_id).where(
    batch_events.c.event_id.in_(bindparam("event_ids", expanding=True))
)
_OF_EVENTS = select(runs.c.id, runs.c.event_id).where(runs.c.event_id.in_(bindparam("event_ids", expanding=True)))
_OF_BATCHES = select(runs.c.id, runs.c.batch_id).where(runs.c.batch_id.in_(bindparam("batch_ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as lists show it; its output is read apart (`outputs`), since it may be large."""

    id: str
    status: Status
    function_id: str
    function_version: int
    #: Its function's slug and name, and its app; None: there is no such function any more.
    function_slug: str | None
    function_name: str | None
    app_id: str | None
    app_name: str | None
    #: The event it is known by, the first one of a batch.
    event_id: str
    event_name: str
    #: There where it was started with many events.
    batch_id: str | None
    #: The line of the schedule that started it, if one did.
    cron: str | None
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    #: The run and the step that invoked it.
    invoked_by: tuple[str, str] | None = None
    requeues: int = 0


def rows(conn: Connection, ids: Sequence[str]) -> list[RunRow]:
    """The runs with these ids as lists show them, in the order of the ids; those that are gone are left out."""
    if not ids:
        return []
    found: dict[str, Any] = {row.id: row for row in conn.execute(_BY_IDS, {"ids": list(ids)})}
    crons = _crons(conn, found.values())
    return [_row(found[run_id], crons) for run_id in ids if run_id in found]


def row(conn: Connection, run_id: str) -> RunRow | None:
    """One run as lists show it."""
    return next(iter(rows(conn, [run_id])), None)


def outputs(conn: Connection, ids: Sequence[str]) -> dict[str, str | None]:
    """The output of each of these runs (JSON text), which for a failed one is its error."""
    if not ids:
        return {}
    found = conn.execute(_OUTPUTS, {"ids": list(ids)})
    return {row.id: row.error if row.status == Status.FAILED else row.output for row in found}


def runs_of_events(conn: Connection, event_ids: Sequence[str]) -> dict[str, list[RunRow]]:
    """The runs that each of these events started, or had a part in starting, the oldest first."""
    started = ids_of_events(conn, event_ids)
    known = {row.id: row for row in rows(conn, sorted({run_id for ids in started.values() for run_id in ids}))}
    return {event_id: [known[run_id] for run_id in ids if run_id in known] for event_id, ids in started.items()}


def runs_of_event(conn: Connection, event_id: str) -> list[RunRow]:
    """The runs that an event started, or had a part in starting, the oldest first."""
    return runs_of_events(conn, [event_id])[event_id]


def ids_of_events(conn: Connection, event_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the runs that each of these events started, or had a part in starting, the oldest first."""
    started = {event_id: set[str]() for event_id in event_ids}
    if not event_ids:
        return {}
    for row in conn.execute(_OF_EVENTS, {"event_ids": list(event_ids)}):
        started[row.event_id].add(row.id)
    batches = dict[str, list[str]]()
    for row in conn.execute(_IN_BATCHES, {"event_ids": list(event_ids)}):
        batches.setdefault(row.batch_id, []).append(row.event_id)
    if batches:
        for row in conn.execute(_OF_BATCHES, {"batch_ids": list(batches)}):
            for event_id in batches[row.batch_id]:
                started[event_id].add(row.id)
    return {event_id: sorted(ids) for event_id, ids in started.items()}


def _crons(conn: Connection, found: Iterable[Row[Any]]) -> dict[str, str | None]:
    ids = [row.event_id for row in found if row.event_name == SCHEDULED_TIMER]
    if not ids:
        return {}
    scheduled = conn.execute(_PAYLOADS, {"ids": ids})
    return {row.id: orjson.loads(row.payload).get("data", {}).get("cron") for row in scheduled}


def _row(row: Row[Any], crons: dict[str, str | None]) -> RunRow:
    run_id, mark, step_id = (row.correlation_id or "").partition(".")
    return RunRow(
        row.id,
        Status(row.status),
        row.function_id,
        row.function_version,
        row.slug,
        row.name,
        row.app_id,
        row.app_name,
        row.event_id,
        row.event_name,
        row.batch_id,
        crons.get(row.event_id),
        row.queued_at,
        row.started_at,
        row.ended_at,
        (run_id, step_id) if mark else None,
        row.requeues,
    )
