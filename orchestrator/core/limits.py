"""The arithmetic of rate limits, throttles and debounces.

A rate limit is an exact sliding window: admissions are numbered, and number n may happen when number n - limit is a
whole period old.  In no span shorter than a period are there more than `limit`, and none is refused for less.

A throttle is GCRA: `arrival` is when the next start would come if all came evenly, `gap` apart; a start may come up to
`burst` gaps before it.  In no span shorter than a period are there more than limit + burst.  Where starts come so close
that letting each go by itself would be the bottleneck, they go in small groups: some of the limit becomes burst.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from orchestrator.core.function import Debounce, Throttle

_MICROSECOND = timedelta(microseconds=1)
#: Starts that come closer than this go in groups.
_TOGETHER = timedelta(milliseconds=50)


@dataclass(slots=True)
class Window:
    """The admissions of one key: `count` so far, the times of those that matter by their numbers."""

    limit: int
    period: timedelta
    count: int = 0
    times: dict[int, datetime] = field(default_factory=dict)
    #: The last admission; time does not go back behind it, whoever's clock it is.
    last: datetime | None = None

    def admit(self, now: datetime) -> datetime | None:
        """Count one more; or return the moment from which on there is room, and count nothing."""
        now = max(now, self.last or now)
        oldest = self.times.get(self.count + 1 - self.limit)
        if oldest is not None and oldest + self.period > now:
            return oldest + self.period
        self.count += 1
        self.times[self.count] = self.last = now
        return None

    @staticmethod
    def numbers(count: int, limit: int, asked: int) -> range:
        """The admissions that decide about the next `asked` ones."""
        return range(max(1, count + 1 - limit), count + 1 - limit + asked)


@dataclass(frozen=True, slots=True)
class Pace:
    """The starts of one key."""

    gap: timedelta
    burst: int = 0
    arrival: datetime | None = None

    @classmethod
    def of(cls, throttle: Throttle, arrival: datetime | None = None) -> Pace:
        """The pace that a throttle asks for; a gap is rounded up to the microsecond, never down."""
        grouped = min(throttle.limit // 10, _TOGETHER * throttle.limit // throttle.period)
        gap = -(-(throttle.period // _MICROSECOND) // (throttle.limit - grouped)) * _MICROSECOND
        return cls(gap, throttle.burst + grouped, arrival)

    def changed(self, throttle: Throttle, now: datetime) -> Pace:
        """The pace that a throttle asks for by now: one new gap after the last start, and as far ahead as before."""
        new = Pace.of(throttle)
        if self.arrival is None or new.gap == self.gap:
            return replace(new, arrival=self.arrival)
        last = self.arrival - self.gap
        if last <= now:
            return replace(new, arrival=last + new.gap)
        ahead, old, gap = ((it // _MICROSECOND) for it in (last - now, self.gap, new.gap))
        return replace(new, arrival=now + new.gap - (-ahead * gap // old) * _MICROSECOND)

    def room(self, now: datetime, ahead: int = 0) -> int:
        """How many may start now, when `ahead` others may start and have not."""
        early = now + self.burst * self.gap - self._arrival(now)
        return max(0, early // self.gap + 1 - ahead) if early >= timedelta() else 0

    def next_at(self, now: datetime, ahead: int = 0) -> datetime:
        """When there is room for one more, if those ahead start now."""
        return max(now, self._arrival(now) + (ahead - self.burst) * self.gap)

    def started(self, now: datetime) -> Pace:
        """The pace after one start."""
        return replace(self, arrival=self._arrival(now) + self.gap)

    def _arrival(self, now: datetime) -> datetime:
        return max(now, self.arrival or now)


def debounced_until(debounce: Debounce, first: datetime, now: datetime) -> datetime:
    """When the run starts if no event follows the one that came now; `first` is when the first one came."""
    at = now + debounce.period
    return min(at, first + debounce.timeout) if debounce.timeout is not None else at


def position(at: datetime, priority: int) -> datetime:
    """The place in a queue: a run of priority 300 stands before those that came less than 300 s before it."""
    return at - timedelta(seconds=priority)


def oldest_kept(count: int, limit: int) -> int:
    """Admissions with smaller numbers matter no more."""
    return count + 1 - limit
