"""Rows with the texts that a query reads, a window of them at a time.

Texts may have megabytes.  Those that are large are left out of a window, and read one by one by who needs them, so that
a window of many rows stays small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, select

from orchestrator.core.effect import Status
from orchestrator.store.needles import LARGE, size
from orchestrator.store.places import RESULT, Place
from orchestrator.store.tables import batch_events, events, runs

_IDS: Any = bindparam("ids", expanding=True)


@dataclass(frozen=True, slots=True)
class Text:
    """A JSON text, or the promise of a large one; `text` is None for both a large one and none at all."""

    text: str | None
    large: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run that a query is to be tried on: its events' ids and its output."""

    id: str
    at: datetime | None
    event_ids: tuple[str, ...]
    output: Text


def candidates(conn: Connection, found: Sequence[Place]) -> list[Candidate]:
    """These runs, in their order, with what a query reads of them; those that are gone are left out."""
    bytes_ = size(conn.dialect.name, RESULT)
    query = select(
        runs.c.id,
        runs.c.event_id,
        runs.c.batch_id,
        case((bytes_ <= LARGE, RESULT)).label("text"),
        (bytes_ > LARGE).label("large"),
    ).where(runs.c.id.in_(_IDS))
    if not found:
        return []
    rows: dict[str, Any] = {row.id: row for row in conn.execute(query, {"ids": [place.id for place in found]})}
    batches = _batches(conn, [row.batch_id for row in rows.values() if row.batch_id is not None])
    return [
        Candidate(
            place.id,
            place.at,
            batches.get(row.batch_id, (row.event_id,)),
            Text(row.text, bool(row.large)),
        )
        for place in found
        if (row := rows.get(place.id)) is not None
    ]


def payloads(conn: Connection, event_ids: Sequence[str]) -> dict[str, Text]:
    """The wire texts of these events."""
    bytes_ = size(conn.dialect.name, events.c.payload)
    text = case((bytes_ <= LARGE, events.c.payload)).label("text")
    query = select(events.c.id, text, (bytes_ > LARGE).label("large")).where(events.c.id.in_(_IDS))
    if not event_ids:
        return {}
    rows = conn.execute(query, {"ids": list(event_ids)})
    return {row.id: Text(row.text, bool(row.large)) for row in rows}


def large_payload(conn: Connection, event_id: str) -> str | None:
    """The wire text of an event, however large."""
    return conn.execute(select(events.c.payload).where(events.c.id == event_id)).scalar()


def large_output(conn: Connection, run_id: str) -> str | None:
    """A run's output, however large; for a failed one its error."""
    row = conn.execute(select(runs.c.status, runs.c.output, runs.c.error).where(runs.c.id == run_id)).first()
    if row is None:
        return None
    text: str | None = row.error if row.status == Status.FAILED else row.output
    return text


def _batches(conn: Connection, batch_ids: Sequence[str]) -> Mapping[str | None, tuple[str, ...]]:
    if not batch_ids:
        return {}
    query = (
        select(batch_events.c.batch_id, batch_events.c.event_id)
        .where(batch_events.c.batch_id.in_(batch_ids))
        .order_by(batch_events.c.event_id)
    )
    found = dict[str | None, tuple[str, ...]]()
    for row in conn.execute(query):
        found[row.batch_id] = (*found.get(row.batch_id, ()), row.event_id)
    return found
