"""Events, as they came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from sqlalchemy import Connection, Select, bindparam, select, update

from orchestrator.core.event import Event
from orchestrator.ids import ulid_as_uuid, ulid_from_uuid
from orchestrator.store import functions, jobs, keys, pauses
from orchestrator.store.changing import InsertMany
from orchestrator.store.jobs import Hint
from orchestrator.store.tables import events

#: How many events one match job carries.
MATCH_BATCH = 100

_INSERT = InsertMany(events)
_KNOWN = select(events.c.id).where(events.c.id.in_(bindparam("ids", expanding=True)))
_BY_IDS = select(events).where(events.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as the store has it; `payload` is its wire text."""

    id: str
    name: str
    external_id: str | None
    ts: int
    payload: str
    received_at: datetime
    warning: str | None = None
    #: Whether a pause may wait for it; where nobody has looked, one may.
    awaited: bool = True

    @property
    def happens_at(self) -> datetime:
        """The moment in `ts`."""
        return datetime.fromtimestamp(self.ts / 1000, UTC)


def accept(conn: Connection, received: Sequence[Event], now: datetime) -> tuple[list[str], list[Hint]]:
    """Write events with the jobs that match them; returns the ids to answer, in order, and the hints.

    An event that was accepted before, by its sender's id (within `keys.WINDOW`) or by its own, is not written again:
    the earlier one's id stands for it.
    """
    known = {row.id for row in conn.execute(_KNOWN, {"ids": [event.id for event in received]})}
    holders = _claim(conn, [event for event in received if event.id not in known], now)
    answer = list[str]()
    fresh = list[Event]()
    for event in received:
        holder = holders.get(_scope(event), event.id) if event.id not in known else event.id
        answer.append(holder)
        if holder == event.id and event.id not in known:
            known.add(event.id)
            fresh.append(event)
    if not fresh:
        return answer, []
    heard = any(heard_of(conn, name) for name in {event.name for event in fresh})
    return answer, add(conn, fresh, now, match=heard)


def add(conn: Connection, fresh: Sequence[Event], now: datetime, *, match: bool = True) -> list[Hint]:
    """Write new events and, unless nobody can be listening, the jobs that match them."""
    _INSERT.run(conn, [_row(event) for event in fresh])
    if not match:
        return []
    return [
        jobs.add(conn, jobs.MATCH, f"match:{fresh[at].id}", now, payload=_payload(fresh[at : at + MATCH_BATCH]))
        for at in range(0, len(fresh), MATCH_BATCH)
    ]


def heard_of(conn: Connection, name: str) -> bool:
    """Whether an event of this name starts something, or is waited for."""
    return functions.anyone_listens(conn, name) or pauses.anyone_waits(conn, name)


def since(conn: Connection, name: str, event_id: str, most: int) -> list[StoredEvent]:
    """Events of this name received after the one with this id, the oldest first, at most `most`."""
    query = select(events).where(events.c.name == name, events.c.id > event_id).order_by(events.c.id).limit(most)
    return _stored(conn, query, {})


def load(conn: Connection, ids: Sequence[str]) -> list[StoredEvent]:
    """The events with these ids, in the order of the ids; those that are gone are left out."""
    found = {event.id: event for event in _stored(conn, _BY_IDS, {"ids": list(ids)})}
    return [found[event_id] for event_id in ids if event_id in found]


def ids_in(payload: str) -> list[str]:
    """The event ids a match job carries, written as UUIDs so that PostgreSQL can read them, too."""
    return [ulid_from_uuid(text) for text in orjson.loads(payload)]


def get(conn: Connection, event_id: str) -> StoredEvent | None:
    """One event."""
    return next(iter(load(conn, [event_id])), None)


def page(
    conn: Connection,
    *,
    limit: int,
    before: str | None = None,
    name: str | None = None,
    received_after: datetime | None = None,
    received_before: datetime | None = None,
) -> list[StoredEvent]:
    """The newest events, at most `limit`, older than the event `before`."""
    query = select(events).order_by(events.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(events.c.id < before)
    if name is not None:
        query = query.where(events.c.name == name)
    if received_after is not None:
        query = query.where(events.c.received_at >= received_after)
    if received_before is not None:
        query = query.where(events.c.received_at < received_before)
    return _stored(conn, query, {})


def warn(conn: Connection, event_id: str, warning: str) -> None:
    """Keep what went wrong while matching the event, for people."""
    conn.execute(update(events).where(events.c.id == event_id).values(warning=warning))


def _claim(conn: Connection, received: Sequence[Event], now: datetime) -> dict[tuple[str, ...] | None, str]:
    """The event that stands for each sender's id.

    Claimed in one order by everybody: two that claim the same ids crosswise would wait for each other.
    """
    first = dict[tuple[str, ...], str]()
    for event in received:
        if scope := _scope(event):
            first.setdefault(scope, event.id)
    until = now + keys.WINDOW
    return {scope: keys.claim(conn, scope, event_id, now, until) for scope, event_id in sorted(first.items())}


def _scope(event: Event) -> tuple[str, ...] | None:
    return ("event", event.name, event.external_id) if event.external_id is not None else None


def _payload(carried: Sequence[Event]) -> str:
    return orjson.dumps([ulid_as_uuid(event.id) for event in carried]).decode()


def _stored(conn: Connection, query: Select[tuple[object, ...]], values: dict[str, object]) -> list[StoredEvent]:
    return [
        StoredEvent(row.id, row.name, row.external_id, row.ts, row.payload, row.received_at, row.warning)
        for row in conn.execute(query, values)
    ]


def _row(event: Event) -> dict[str, object]:
    return {
        "id": event.id,
        "name": event.name,
        "external_id": event.external_id,
        "ts": event.ts,
        "payload": event.wire(),
        "received_at": event.received_at,
    }
