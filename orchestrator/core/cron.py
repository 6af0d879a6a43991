"""Cron lines: when they tick, in their time zone, also where clocks change.

Theory.  A line speaks of local time.  A line that names its hours and minutes ("30 2 * * *") means a time on the clock:
it ticks once for each such time, at the first of the two where the clock is set back, and at the moment after the gap
where the clock is set forward over it.  A line whose minute or hour field begins with `*` ("*/5 * * * *") means a
pace: it follows the time that passes, through the hour that comes twice as well, with neither a pause nor a burst.
Restricted days of month and of week are alternatives, unless one of the two begins with `*`.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

#: What may stand in front of a line; without it the line is in UTC.
ZONE = re.compile(r"(?:CRON_)?TZ=(\S*)\s+")
_RANGE_OF_ONE = re.compile(r"(?<!\w)(\w+)-\1(?![\w/])")
#: A tick taken so much late is late, and not missed.
PUNCTUAL = timedelta(seconds=30)
#: The most runs that one line starts at once after a downtime.
MOST_CAUGHT_UP = 100
# A range of one ("5-5"): croniter takes it for all there are.
_RANGE_OF_ONE = re.compile(r"(?<![\w-])(\w+)-\1(?:/\d+)?(?![\w-])", re.IGNORECASE)
_SECOND, _MINUTE, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron line, read."""

    zone: tzinfo
    #: Whether it means a pace and not times on the clock.
    paced: bool
    _line: croniter = field(repr=False, compare=False)

    def next(self, after: datetime) -> datetime | None:
        """The first tick later than `after`, in UTC; None: there is none in the next 50 years."""
        try:
            return self._paced(after) if self.paced else self._timed(after)
        except (CroniterBadDateError, OverflowError):
            return None

    def _timed(self, after: datetime) -> datetime:
        local = after.astimezone(self.zone).replace(tzinfo=None)
        for wanted in self._clock_times(local):
            tick = self._moment(wanted)
            if tick > after:
                return tick
        raise CroniterBadDateError

    def _paced(self, after: datetime) -> datetime:
        """Ticks are looked for between changes of the clock: there, local time runs as time does."""
        begin = later_than = after.astimezone(UTC)
        while True:
            offset = self._offset(begin)
            wanted = next(self._clock_times((later_than + offset).replace(tzinfo=None)))
            tick = wanted.replace(tzinfo=UTC) - offset
            change = self._change(begin, tick)
            if change is None:
                return tick
            begin, later_than = change, change - _SECOND

    def _clock_times(self, local: datetime) -> Iterator[datetime]:
        line = copy.copy(self._line)
        line.set_current(local, force=True)
        while True:
            yield line.get_next(datetime)

    def _moment(self, wanted: datetime) -> datetime:
        """When the clock shows this for the first time or, where it never does, the first minute after the gap."""
        while True:
            moment = wanted.replace(tzinfo=self.zone).astimezone(UTC)
            if moment.astimezone(self.zone).replace(tzinfo=None) == wanted:
                return moment
            wanted += _MINUTE

    def _offset(self, at: datetime) -> timedelta:
        return at.astimezone(self.zone).utcoffset() or timedelta()

    def _change(self, start: datetime, end: datetime) -> datetime | None:
        """The first moment after `start` and up to `end` at which the clock is changed, to the second."""
        offset = self._offset(start)
        before, after = start, min(start + _DAY, end)
        while self._offset(after) == offset:
            if after >= end:
                return None
            before, after = after, min(after + _DAY, end)
        while after - before > _SECOND:
            middle = before + (after - before) // 2
            before, after = (middle, after) if self._offset(middle) == offset else (before, middle)
        return after.replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class CatchUp:
    """What becomes of ticks that nobody took in time, after a downtime.

    "once": the latest one starts a run.  "skip": none does.  "all": each within `window` does,
    the latest `MOST_CAUGHT_UP` at most.
    """

    policy: str = "once"
    window: timedelta = timedelta(hours=1)

    def ticks(self, line: str, tick: datetime, now: datetime) -> list[datetime]:
        """The ticks to start runs for, when `tick` and those after it up to `now` are still to be taken."""
        if now - tick <= PUNCTUAL:
            return [tick]
        if self.policy == "all":
            return latest_ticks(line, max(tick, now - max(self.window, PUNCTUAL)), now, MOST_CAUGHT_UP)
        since = now - PUNCTUAL if self.policy == "skip" else tick
        return latest_ticks(line, since, now, 1)


@lru_cache(maxsize=4096)
def schedule(line: str) -> Schedule:
    """Read a cron line that was checked when it was declared."""
    zone = ZONE.match(line)
    # croniter takes a range of one (`0-0`) for the whole.
    fields = _RANGE_OF_ONE.sub(r"\1", line[zone.end() :] if zone else line)
    minute, hour = fields.split()[:2]
    return Schedule(
        ZoneInfo(zone[1]) if zone else UTC,
        minute.startswith("*") or hour.startswith("*"),
        croniter(_RANGE_OF_ONE.sub(r"\1", fields), datetime(2000, 1, 1), implement_cron_bug=True),
    )


def next_tick(line: str, after: datetime) -> datetime | None:
    """The first tick of the line later than `after`, in UTC; None: there is none in the next 50 years."""
    return schedule(line).next(after)


def latest_ticks(line: str, since: datetime, until: datetime, most: int) -> list[datetime]:
    """The ticks from `since` to `until`, both included; where they are more than `most`, the latest ones.

    Looks back from `until`, ever further, so that a long time is not gone through tick by tick.
    """
    span = timedelta(hours=1)
    while True:
        begin = max(since, until - span)
        found = list(_ticks(schedule(line), begin - _SECOND, until))
        found = [tick for tick in found if tick >= begin]
        if len(found) >= most or begin == since:
            return found[-most:]
        span *= 4


def jitter_of(tick_key: str, jitter: timedelta | None) -> timedelta:
    """How long after its tick a run begins: a whole second from 1 to `jitter`, the same for the same key."""
    if jitter is None:
        return timedelta()
    number = int.from_bytes(hashlib.sha256(tick_key.encode()).digest()[:8])
    return (1 + number % max(1, jitter // _SECOND)) * _SECOND


def _ticks(of: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    tick = of.next(after)
    while tick is not None and tick <= until:
        yield tick
        tick = of.next(tick)
