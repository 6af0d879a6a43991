"""Batching: one start for many events, when there are enough of them or the first has waited long enough.

The events are rows; the gate's state counts them.  The event that fills a batch starts its run, in its own transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from orchestrator.core.admission import MAX_BATCH_BYTES
from orchestrator.core.function import Batch
from orchestrator.ids import new_ulid
from orchestrator.store import batches, gates, timers
from orchestrator.store.database import Connection
from orchestrator.store.events import StoredEvent
from orchestrator.store.gates import Gate
from orchestrator.store.jobs import Hint


class Filling(msgspec.Struct, frozen=True):
    """The batch that fills at a gate; `event_id` is its first event."""

    function_id: str
    batch_id: str
    event_id: str
    events: int
    size: int
    until: datetime

    def full(self, option: Batch) -> bool:
        """Whether it takes no more events."""
        return self.events >= option.max_size or self.size >= MAX_BATCH_BYTES


class Batches:
    """The batches of the gates that one transaction goes through."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._of = dict[str, Filling | None]()
        self._new = dict[str, list[str]]()
        self._touched = set[str]()

    def load(self, gate: Gate) -> None:
        """Read what fills at a locked gate."""
        self._of[gate.key] = filling_at(gate)

    def put(self, gate: str, option: Batch, function_id: str, event: StoredEvent, now: datetime) -> Filling | None:
        """Add an event; returns the batch if that makes it full, which the caller must start."""
        batch = self._of[gate] or Filling(function_id, new_ulid(), event.id, 0, 0, now + option.timeout)
        batch = msgspec.structs.replace(
            batch,
            event_id=min(batch.event_id, event.id),
            events=batch.events + 1,
            size=batch.size + len(event.payload.encode()),
        )
        self._new.setdefault(batch.batch_id, []).append(event.id)
        self._touched.add(gate)
        full = batch.full(option)
        self._of[gate] = None if full else batch
        return batch if full else None

    def save(self, now: datetime) -> list[Hint]:
        """Write the events and what fills, and wind the timers."""
        for batch_id, event_ids in self._new.items():
            batches.add(self._conn, batch_id, event_ids)
        return [hint for gate in sorted(self._touched) for hint in self._save(gate, now)]

    def _save(self, gate: str, now: datetime) -> Sequence[Hint]:
        batch = self._of[gate]
        if batch is None:
            gates.save(self._conn, gate, None, now)
            timers.end(self._conn, gate)
            return ()
        gates.save(self._conn, gate, msgspec.json.encode(batch).decode(), None)
        return (timers.wind(self._conn, gates.BATCH, gate, batch.until),)


def filling_at(gate: Gate) -> Filling | None:
    """What fills at a locked gate."""
    return msgspec.json.decode(gate.state, type=Filling) if gate.state is not None else None


def take(conn: Connection, gate: Gate, now: datetime) -> Filling | None:
    """Take what fills at a locked gate: it starts now."""
    filling = filling_at(gate)
    gates.save(conn, gate.key, None, now)
    timers.end(conn, gate.key)
    return filling
