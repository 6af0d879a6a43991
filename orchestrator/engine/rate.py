"""Rate limits and idempotency: so many starts of a key within a period, and not one more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from orchestrator.core.function import RateLimit
from orchestrator.core.limits import Window, oldest_kept
from orchestrator.store import admissions, gates
from orchestrator.store.database import Connection
from orchestrator.store.gates import Gate


class _State(msgspec.Struct, frozen=True):
    """The state of a gate."""

    count: int
    last: datetime


@dataclass(slots=True)
class _Limited:
    window: Window
    known: int


class Rates:
    """The windows of the gates that one transaction goes through."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._of = dict[str, _Limited]()

    def load(self, gate: Gate, limit: RateLimit, asks: int) -> None:
        """Read what decides about the next `asks` starts of a locked gate."""
        state = msgspec.json.decode(gate.state, type=_State) if gate.state is not None else None
        count = state.count if state is not None else 0
        numbers = Window.numbers(count, limit.limit, asks)
        times = admissions.between(self._conn, gate.key, numbers) if count else {}
        window = Window(limit.limit, limit.period, count, times, state.last if state is not None else None)
        self._of[gate.key] = _Limited(window, count)

    def admit(self, gate: str, now: datetime) -> datetime | None:
        """Count a start; or return the moment from which on there is room."""
        return self._of[gate].window.admit(now)

    def save(self) -> None:
        """Write what was admitted."""
        for key, limited in self._of.items():
            window = limited.window
            if window.count == limited.known or window.last is None:
                continue
            new = {number: window.times[number] for number in range(limited.known + 1, window.count + 1)}
            admissions.add(self._conn, key, new, oldest_kept(window.count, window.limit))
            state = msgspec.json.encode(_State(window.count, window.last)).decode()
            gates.save(self._conn, key, state, window.last + window.period)
