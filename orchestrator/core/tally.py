"""Counting runs in spans of time: the spans, the bins that lengths of time fall into, and what stands in the middle.

Theory of operation.  What happened in a minute that is over is counted once, and added to the spans of every length
that the minute lies in (`SPANS`): so a chart of an hour and one of a month are read from equally few rows.  Of lengths
of time (in the queue, at work) it is counted how many fell into which bin.  Bins grow by a fifth of a power of ten, and
within one the lengths are taken to lie evenly on that scale: a quantile is right to a few per cent.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

#: Counted at once; all others are made of these.
MINUTE = timedelta(minutes=1)
#: The spans that are counted for, and how long each is kept; None: as long as runs are.
SPANS: Mapping[timedelta, timedelta | None] = {
    MINUTE: timedelta(hours=3),
    timedelta(minutes=15): timedelta(days=3),
    timedelta(hours=3): timedelta(days=15),
    timedelta(hours=12): None,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: The upper bounds of bins, in microseconds: 1 ms, 1.6 ms, 2.5 ms ... 79 days; what is longer is in the bin after them.
BOUNDS = tuple(round(1000 * 10 ** (nth / 5)) for nth in range(50))


def begin_of(at: datetime, span: timedelta) -> datetime:
    """When the span that a moment lies in began; spans are counted from 1970."""
    return at - (at - _EPOCH) % span


def quantile(bins: Mapping[int, int], share: float) -> timedelta | None:
    """The length of time than which `share` (0 to 1) of those that were counted are shorter; None: there are none."""
    total = sum(bins.values())
    if not total:
        return None
    wanted, before = share * total, 0
    last = max(bins)
    for nth in sorted(bins):
        if before + bins[nth] >= wanted or nth == last:
            return _within(nth, (wanted - before) / bins[nth] if bins[nth] else 1.0)
        before += bins[nth]
    raise AssertionError("the last bin ends the walk")


def _within(nth: int, share: float) -> timedelta:
    """A place in a bin, evenly on the scale of powers."""
    share = min(max(share, 0.0), 1.0)
    if nth == 0:
        return BOUNDS[0] * share * _MICROSECOND
    if nth >= len(BOUNDS):
        return BOUNDS[-1] * _MICROSECOND
    low, high = BOUNDS[nth - 1], BOUNDS[nth]
    return timedelta(microseconds=round(low * (high / low) ** share))
