"""The events of batches, of those that still fill and of those that runs were started with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select

from orchestrator.store.tables import batch_events, events

_EVENTS = (
    select(events.c.id, events.c.payload)
    .join(batch_events, batch_events.c.event_id == events.c.id)
    .where(batch_events.c.batch_id == bindparam("of_batch"))
    .order_by(events.c.id)
)
_IDS = (
    select(batch_events.c.event_id)
    .where(batch_events.c.batch_id == bindparam("of_batch"))
    .order_by(batch_events.c.event_id)
)
_DROP = delete(batch_events).where(batch_events.c.batch_id == bindparam("of_batch"))
_IDS_OF_MANY = (
    select(batch_events.c.batch_id, batch_events.c.event_id)
    .where(batch_events.c.batch_id.in_(bindparam("of_batches", expanding=True)))
    .order_by(batch_events.c.batch_id, batch_events.c.event_id)
)


def add(conn: Connection, batch_id: str, event_ids: Sequence[str]) -> None:
    """Put events into a batch."""
    conn.execute(insert(batch_events), [{"batch_id": batch_id, "event_id": event_id} for event_id in event_ids])


def drop(conn: Connection, batch_id: str) -> None:
    """Forget what is in a batch that starts nothing: retention keeps the events of batches."""
    conn.execute(_DROP, {"of_batch": batch_id})


def payloads(conn: Connection, batch_id: str) -> tuple[str, ...]:
    """The wire texts of a batch's events, in the order in which they were received."""
    return tuple(row.payload for row in conn.execute(_EVENTS, {"of_batch": batch_id}))


def event_ids(conn: Connection, batch_id: str) -> list[str]:
    """The ids of a batch's events, in the same order."""
    return [row.event_id for row in conn.execute(_IDS, {"of_batch": batch_id})]


def event_ids_of(conn: Connection, batch_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """The same for each of these batches."""
    found = dict[str, list[str]]()
    for row in conn.execute(_IDS_OF_MANY, {"of_batches": list(batch_ids)}):
        found.setdefault(row.batch_id, []).append(row.event_id)
    return found
