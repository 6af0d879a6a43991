"""Throttle: starts of a key at a pace; the others wait in a queue.

A start is counted when the first call really begins.  Those that were let go and have not begun take room until then,
so that neither a busy worker nor an outage makes them pile up and begin together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import msgspec

from orchestrator.core.function import Throttle
from orchestrator.core.limits import Pace, position
from orchestrator.engine.outcome import Start
from orchestrator.store import gates, throttles, timers
from orchestrator.store.database import Connection
from orchestrator.store.gates import Gate
from orchestrator.store.jobs import Hint
from orchestrator.store.throttles import Waiting

#: When those let go do not begin, one looks again after this; usually the first that begins winds the timer.
_LOOK_AGAIN = timedelta(seconds=5)
#: A gate that nobody waits at is kept this much longer than it matters.
_KEPT = timedelta(minutes=10)
#: The most runs let go in one transaction.
_MOST = 100
#: No throttle to speak of.
_FREE = Throttle(1_000_000, timedelta(seconds=1), burst=1_000_000)


class _State(msgspec.Struct, frozen=True):
    """The state of a gate: the pace, as the function asked for it last."""

    gap: int
    burst: int
    arrival: datetime | None = None

    def pace(self) -> Pace:
        return Pace(timedelta(microseconds=self.gap), self.burst, self.arrival)


@dataclass(slots=True)
class _Line:
    """One gate."""

    pace: Pace
    #: Let go before, and not begun.
    ahead: int
    new: list[Waiting] = field(default_factory=list)


class Throttles:
    """The gates that one transaction goes through."""

    def __init__(self, conn: Connection, now: datetime) -> None:
        self._conn = conn
        self._now = now
        self._of = dict[str, _Line]()

    def load(self, gate: Gate, option: Throttle) -> None:
        """Read who is ahead at a locked gate."""
        state = _state(gate)
        ahead = throttles.ahead(self._conn, gate.key) if state is not None else 0
        pace = state.pace().changed(option, self._now) if state is not None else Pace.of(option)
        self._of[gate.key] = _Line(pace, ahead)

    def admit(self, gate: str, start: Start, at_once: set[str]) -> Start:
        """Let a run go, if it is its turn; else it is held.  What is in `at_once` begins in this transaction."""
        line, now, run_id = self._of[gate], self._now, start.run.id
        place = position(start.at if start.at > now else start.came_at, start.priority)
        goes = start.at <= now and line.pace.room(now, line.ahead) > 0 and not self._any_before(line, gate, place)
        if goes and run_id in at_once and start.run.limits is None:
            line.pace = line.pace.started(now)
            return start
        if not (goes and start.run.limits):  # one that needs slots begins only when it has them
            at_once.discard(run_id)
        line.new.append(Waiting(run_id, gate, start.at, place, let_go=goes))
        line.ahead += goes
        return start if goes else replace(start, held=True)

    def save(self) -> list[Hint]:
        """Write the queues, and wind the timers."""
        hints = list[Hint]()
        for gate, line in self._of.items():
            if line.new:
                throttles.add(self._conn, line.new)
            hints += _wind(self._conn, gate, line.pace, line.ahead, self._now)
        return hints

    def _any_before(self, line: _Line, gate: str, place: datetime) -> bool:
        if any(not it.let_go and it.at <= self._now and it.position <= place for it in line.new):
            return True
        return throttles.any_before(self._conn, gate, place, self._now)


def let_go(conn: Connection, gate: Gate, now: datetime, option: Throttle | None) -> list[Hint]:
    """Let those at the head of a locked gate's queue go, as many as may begin; returns also the timer's hint.

    `option` is what the function asks for by now, or an operator in its place; None: it holds nobody back any more.
    """
    state = _state(gate)
    if state is None:
        timers.end(conn, gate.key)
        return []
    pace, hints = state.pace().changed(option or _FREE, now), list[Hint]()
    throttles.forget_over(conn, gate.key)
    ahead = throttles.ahead(conn, gate.key)
    while room := min(pace.room(now, ahead), _MOST - len(hints)):
        heads = throttles.first(conn, gate.key, now, room)
        if not heads:
            break
        freed = throttles.let_go(conn, heads, now)
        hints += freed
        ahead += len(freed)
    return hints + _wind(conn, gate.key, pace, ahead, now)


def begin(conn: Connection, run_id: str, function_id: str, now: datetime) -> list[Hint]:
    """Count that the first call of a run begins, if a throttle let it go: now it is known when the next one may."""
    key = throttles.gate_of(conn, run_id)
    if key is None:
        return []
    state = _state(gates.lock(conn, {key: function_id}, now)[key])
    throttles.forget(conn, run_id)
    if state is None:
        return []
    return _wind(conn, key, state.pace().started(now), throttles.ahead(conn, key), now)


def _state(gate: Gate) -> _State | None:
    return msgspec.json.decode(gate.state, type=_State) if gate.state is not None else None


def _wind(conn: Connection, gate: str, pace: Pace, ahead: int, now: datetime) -> list[Hint]:
    """Write the pace; let the timer go off when the next of the queue may be let go, if there is a queue."""
    gap = pace.gap // timedelta(microseconds=1)
    state = msgspec.json.encode(_State(gap, pace.burst, pace.arrival)).decode()
    earliest = throttles.earliest(conn, gate)
    if earliest is None:
        gates.save(conn, gate, state, max(now, pace.arrival or now) + _KEPT)
        timers.end(conn, gate)
        return []
    gates.save(conn, gate, state, None)
    at = pace.next_at(now, ahead)
    if ahead > pace.burst:  # the room is taken by some that have not begun: who does winds the timer
        at = max(at, now + _LOOK_AGAIN)
    return [timers.wind(conn, gates.THROTTLE, gate, max(at, earliest))]
