"""A run's trace as rows of bars to scale: where each span's time went, in queues apart from work.

Positions are hundredths of the window that is shown: the whole run, or a part that somebody looks at more closely.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.core.spans import Span, SpanKind, SpanStatus
from orchestrator.errors import RequestError

#: Nothing that happened is too short to be seen.
THINNEST = 0.25
_SHORTEST = timedelta(milliseconds=1)
_TICKS = 5
_STEPS_OF_SCALE = (1, 2, 5)
_WAITING_KINDS = {
    SpanKind.SLEEP: "sleep",
    SpanKind.WAIT_FOR_EVENT: "wait",
    SpanKind.WAIT_FOR_SIGNAL: "wait",
    SpanKind.INVOKE: "wait",
    SpanKind.DEFER: "wait",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of time; `kind` says what it was spent with."""

    x: float
    width: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    """A span with its bars."""

    span: Span
    bars: Sequence[Bar]
    took: timedelta | None
    queued: timedelta | None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the scale: where, and how long after the run was queued."""

    x: float
    after: timedelta


@dataclass(frozen=True, slots=True)
class Waterfall:
    """All rows on one scale."""

    rows: Sequence[Row]
    ticks: Sequence[Tick]
    begin: datetime
    end: datetime
    zoomed: bool


@dataclass(frozen=True, slots=True)
class _Window:
    begin: datetime
    end: datetime

    def place(self, begin: datetime, end: datetime) -> tuple[float, float] | None:
        """Where a piece of time is; None: outside."""
        if end < self.begin or begin > self.end:
            return None
        whole = self.end - self.begin
        left = max((begin - self.begin) / whole, 0.0) * 100
        right = min((end - self.begin) / whole, 1.0) * 100
        width = max(right - left, THINNEST)
        return round(min(left, 100 - THINNEST), 3), round(width, 3)


def waterfall(root: Span, now: datetime, zoom: str = "") -> Waterfall:
    """Lay out a run; `zoom` is a part of it in milliseconds after it was queued: 1200-3400.  Raises `RequestError`."""
    window = _zoomed(root, _whole(root, now), zoom)
    rows = [_row(root, window, now, 0), *(_row(span, window, now, 1) for span in root.children)]
    return Waterfall(rows, list(_ticks(window, root.queued_at)), window.begin, window.end, bool(zoom))


def _whole(root: Span, now: datetime) -> _Window:
    last = max((span.ended_at or now for span in (root, *root.children)), default=now)
    return _Window(root.queued_at, max(last, root.queued_at + _SHORTEST))


def _zoomed(root: Span, whole: _Window, zoom: str) -> _Window:
    if not zoom:
        return whole
    first, _, last = zoom.partition("-")
    if not (first.isdecimal() and last.isdecimal() and len(zoom) < 40 and int(first) < int(last)):
        raise RequestError("zoom must be two numbers of milliseconds such as 1200-3400")
    try:
        begin, end = (root.queued_at + timedelta(milliseconds=int(it)) for it in (first, last))
    except OverflowError:
        raise RequestError("zoom is further than times go") from None
    return _Window(begin, end)


def _row(span: Span, window: _Window, now: datetime, depth: int) -> Row:
    ended = span.ended_at or (None if _idle(span) else now)
    took = ended - span.started_at if ended is not None and span.started_at is not None else None
    queued = (span.started_at or span.ended_at or now) - span.queued_at
    return Row(span, list(_bars(span, window, now)), took, queued, depth)


def _idle(span: Span) -> bool:
    """Whether it has not begun yet, or is to begin again."""
    return span.status is SpanStatus.QUEUED


def _bars(span: Span, window: _Window, now: datetime) -> Iterator[Bar]:
    if span.kind is SpanKind.FUNCTION:
        yield from _own(span, window, now)
        return
    tries = [child for child in span.children if child.kind is SpanKind.ATTEMPT]
    for piece in tries or [span]:
        yield from _own(piece, window, now)


def _own(span: Span, window: _Window, now: datetime) -> Iterator[Bar]:
    begun = span.started_at or (span.ended_at if span.ended_at is not None and not _idle(span) else None)
    waits = span.kind in _WAITING_KINDS
    if waits:
        begun = span.queued_at
    yield from _bar(window, span.queued_at, begun or span.ended_at or now, "queue", "in queue")
    if begun is not None:
        yield from _bar(window, begun, span.ended_at or now, _kind(span), span.status.value.lower())


def _kind(span: Span) -> str:
    if span.status in (SpanStatus.FAILED, SpanStatus.CANCELLED):
        return span.status.value.lower()
    return _WAITING_KINDS.get(span.kind) or ("completed" if span.status is SpanStatus.COMPLETED else "running")


def _bar(window: _Window, begin: datetime, end: datetime, kind: str, title: str) -> Iterator[Bar]:
    end = max(begin, end)  # another machine's clock may be ahead of ours
    if kind == "queue" and end - begin < _SHORTEST:
        return
    place = window.place(begin, end)
    if place is not None:
        yield Bar(*place, kind, f"{title}: {(end - begin).total_seconds() * 1000:,.0f} ms")


def _ticks(window: _Window, zero: datetime) -> Iterator[Tick]:
    """Lines at round distances from the run's beginning."""
    whole = (window.end - window.begin) / timedelta(milliseconds=1)
    step = _round(whole / _TICKS)
    first = (window.begin - zero) / timedelta(milliseconds=1)
    at = step * (int(first / step) + (first % step > 0))
    while at < first + whole:
        yield Tick(round((at - first) / whole * 100, 3), timedelta(milliseconds=at))
        at += step


def _round(milliseconds: float) -> float:
    """The next number that is good to read."""
    for unit in (1, 1_000, 60_000, 3_600_000, 86_400_000):
        for scale in (1, 10, 100, 1_000, 10_000):
            for step in _STEPS_OF_SCALE:
                whole = unit * scale * step
                if whole >= milliseconds and _reads_well(whole):
                    return float(whole)
    return milliseconds


def _reads_well(milliseconds: int) -> bool:
    """Whether it is a round number in the unit that people would tell it in."""
    for unit, next_unit in ((1, 1_000), (1_000, 60_000), (60_000, 3_600_000), (3_600_000, 86_400_000)):
        if milliseconds < next_unit:
            return milliseconds % unit == 0
    return milliseconds % 86_400_000 == 0
