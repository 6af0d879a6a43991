"""Debounce: one start for a burst of events, with the last of them.

What waits is the state of the gate, and the gate's timer goes off when it has waited long enough: both are rows, so
that nothing is lost with a process.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from orchestrator.core.function import Debounce
from orchestrator.core.limits import debounced_until
from orchestrator.store import gates, timers
from orchestrator.store.database import Connection
from orchestrator.store.events import StoredEvent
from orchestrator.store.gates import Gate
from orchestrator.store.jobs import Hint


class Debounced(msgspec.Struct, frozen=True):
    """What waits at a gate: the last event of the burst."""

    function_id: str
    event_id: str
    ts: int
    first_at: datetime
    #: How many events it stands for.
    events: int


class Debounces:
    """The debounces of the gates that one transaction goes through."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._of = dict[str, Debounced | None]()
        self._until = dict[str, datetime]()

    def load(self, gate: Gate) -> None:
        """Read what waits at a locked gate."""
        self._of[gate.key] = waiting_at(gate)

    def put(self, gate: str, option: Debounce, function_id: str, event: StoredEvent, now: datetime) -> None:
        """Let the event wait; it takes the place of one that is not newer, and the wait begins anew."""
        before = self._of[gate]
        if before is None:
            after = Debounced(function_id, event.id, event.ts, now, 1)
        else:
            event_id, ts = (event.id, event.ts) if event.ts >= before.ts else (before.event_id, before.ts)
            after = Debounced(function_id, event_id, ts, before.first_at, before.events + 1)
        self._of[gate] = after
        self._until[gate] = debounced_until(option, after.first_at, now)

    def save(self) -> list[Hint]:
        """Write what waits, and wind the timers."""
        hints = []
        for gate, until in self._until.items():
            gates.save(self._conn, gate, msgspec.json.encode(self._of[gate]).decode(), None)
            hints.append(timers.wind(self._conn, gates.DEBOUNCE, gate, until))
        return hints


def waiting_at(gate: Gate) -> Debounced | None:
    """What waits at a locked gate."""
    return msgspec.json.decode(gate.state, type=Debounced) if gate.state is not None else None


def take(conn: Connection, gate: Gate, now: datetime) -> Debounced | None:
    """Take what waits at a locked gate: it starts now."""
    waiting = waiting_at(gate)
    gates.save(conn, gate.key, None, now)
    timers.end(conn, gate.key)
    return waiting
