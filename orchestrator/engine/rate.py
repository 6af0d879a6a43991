"""Rate limits and idempotency: so many starts of a key within a period, and not one more."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from orchestrator.core.function import RateLimit
from orchestrator.core.limits import Window, oldest_kept
from orchestrator.store import admissions, gates
from orchestrator.store.database import Connection
from orchestrator.store.filters import Count
from orchestrator.store.gates import Gate, gate_key

#: Of so many keys one tells how many are used up.
_KEYS = 1_000
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


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
        state = _state(gate)
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


@dataclass(frozen=True, slots=True)
class RateUse:
    """How much of a rate limit is used at a moment."""

    #: Starts that count; None: each key has its own.
    starts: int | None
    #: Keys that have such starts, and those of them that have as many as there may be.
    keys: Count
    full: int


def use_of(conn: Connection, function_id: str, limit: RateLimit, now: datetime) -> RateUse:
    """How much of a function's rate limit is used: for people, and so without a lock."""
    if limit.key is None:
        gate = gates.get(conn, gate_key(gates.RATE, function_id, ""))
        return RateUse(_starts(conn, gate, limit, now) if gate is not None else 0, Count(0, exact=True), 0)
    found = gates.of_function(conn, gates.RATE, function_id, now, _KEYS + 1)
    used = {it.key: state for it in found[:_KEYS] if (state := _state(it)) and state.last + limit.period > now}
    oldest = [(key, at) for key, state in used.items() if (at := oldest_kept(state.count, limit.limit)) > 0]
    full = sum(at + limit.period > now for at in admissions.times_of(conn, oldest).values())
    return RateUse(None, Count(len(used), exact=len(found) <= _KEYS), full)


def _starts(conn: Connection, gate: Gate, limit: RateLimit, now: datetime) -> int:
    """The starts within the period; they are searched, as there may be very many."""
    state = _state(gate)
    if state is None:
        return 0
    numbers = range(max(1, oldest_kept(state.count, limit.limit)), state.count + 1)

    def at(number: int) -> datetime:
        return admissions.between(conn, gate.key, range(number, number + 1)).get(number, _LONG_AGO)

    return len(numbers) - bisect_right(numbers, now - limit.period, key=at)


def _state(gate: Gate) -> _State | None:
    return msgspec.json.decode(gate.state, type=_State) if gate.state is not None else None
