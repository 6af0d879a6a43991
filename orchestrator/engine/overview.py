"""The overview: how many runs there were when, how they ended, and how long they took.

What is over was counted (see `engine.tally`); what came after is counted here, from the runs, while the page is made.
That is a minute or two; where it is more, because counting is behind, the chart ends where counting has come to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.core.effect import Status
from orchestrator.core.tally import MINUTE, begin_of, quantile
from orchestrator.store import functions, tallies
from orchestrator.store.database import Connection
from orchestrator.store.functions import StoredFunction
from orchestrator.store.tallies import LENGTHS, QUEUED, STARTED, TOOK, WAITED, Counted

#: The spans of time that can be looked at, by their names, each with the length of its parts.
LOOKS: Mapping[str, tuple[timedelta, timedelta]] = {
    "1h": (timedelta(hours=1), timedelta(minutes=1)),
    "24h": (timedelta(days=1), timedelta(minutes=15)),
    "7d": (timedelta(days=7), timedelta(hours=3)),
    "30d": (timedelta(days=30), timedelta(hours=12)),
}
#: What is counted while the page is made.
_TAIL = timedelta(minutes=5)
#: Statuses that runs end with.
ENDS = tuple(status for status in Status if status.final)


@dataclass(frozen=True, slots=True)
class Length:
    """How long something took: half of it took no longer than `median`, 19 in 20 than `p95`; None: there was none."""

    median: timedelta | None
    p95: timedelta | None


@dataclass(frozen=True, slots=True)
class Part:
    """What happened in a part of the time that is looked at."""

    #: When it began.
    at: datetime
    #: Runs that came to be, and those whose first call began.
    queued: int
    started: int
    #: Runs that ended, by their status.
    ended: Mapping[Status, int]
    #: From coming to be to the first call, and from there to the end.
    waited: Length
    took: Length

    @property
    def failed(self) -> int:
        """Runs that failed."""
        return self.ended.get(Status.FAILED, 0)

    @property
    def all_ended(self) -> int:
        """Runs that ended, but for those that never began to be one."""
        return sum(number for status, number in self.ended.items() if status is not Status.SKIPPED)

    @property
    def failure_rate(self) -> float | None:
        """The share of failed ones among those that ended, 0 to 1; None: none did."""
        return self.failed / self.all_ended if self.all_ended else None


@dataclass(frozen=True, slots=True)
class OfFunction:
    """The same of one function, all of it."""

    function_id: str
    #: None: it is gone.
    function: StoredFunction | None
    queued: int
    ended: int
    failed: int


@dataclass(frozen=True, slots=True)
class Overview:
    """What happened from `since` to `until`."""

    since: datetime
    until: datetime
    #: How long its parts are.
    step: timedelta
    parts: Sequence[Part]
    whole: Part
    by_function: Sequence[OfFunction]
    #: Where counting is behind: up to when everything is counted.
    counted_until: datetime | None

    @property
    def per_minute(self) -> float:
        """Runs that ended in a minute, on average."""
        return self.whole.all_ended / max((self.until - self.since) / MINUTE, 1)


def overview(conn: Connection, look: str, now: datetime) -> Overview:
    """Look at one of the spans of time `LOOKS`, up to now."""
    length, step = LOOKS[look]
    since = begin_of(now - length, step) + step
    counted, by_function = list(tallies.read(conn, step, since)), tallies.by_function(conn, step, since)
    reached = _reached(conn, now)
    behind = now - reached > _TAIL
    if not behind:
        _count_tail(conn, reached, now, step, counted, by_function)
    return Overview(
        since,
        now,
        step,
        _parts(counted, since, now, step),
        _part(since, counted),
        _of_functions(conn, by_function),
        max(reached, since) if behind else None,
    )


def _reached(conn: Connection, now: datetime) -> datetime:
    """Up to when everything is counted; where nobody has begun to, up to the first run."""
    found = tallies.reached(conn) or tallies.next_change(conn, tallies.EVER)
    return begin_of(found, MINUTE) if found is not None else now


def _count_tail(
    conn: Connection,
    reached: datetime,
    now: datetime,
    step: timedelta,
    counted: list[Counted],
    by_function: dict[str, dict[str, int]],
) -> None:
    """Count what came after the last minute that was counted."""
    at = reached
    while at < now:
        for cell in tallies.count(conn, at, min(at + MINUTE, now)):
            counted.append(Counted(begin_of(at, step), cell.what, cell.bin, cell.number))
            if cell.function_id:
                whats = by_function.setdefault(cell.function_id, {})
                whats[cell.what] = whats.get(cell.what, 0) + cell.number
        at += MINUTE


def _parts(counted: Iterable[Counted], since: datetime, now: datetime, step: timedelta) -> list[Part]:
    by_moment = dict[datetime, list[Counted]]()
    for it in counted:
        by_moment.setdefault(it.at, []).append(it)
    moments = [since + nth * step for nth in range((now - since) // step + 1)]
    return [_part(at, by_moment.get(at, [])) for at in moments]


def _part(at: datetime, counted: Iterable[Counted]) -> Part:
    numbers, bins = Counter[str](), {what: Counter[int]() for what in LENGTHS}
    for it in counted:
        if it.what in bins:
            bins[it.what][it.bin] += it.number
        else:
            numbers[it.what] += it.number
    ended = {status: numbers[status.value] for status in ENDS}
    lengths = {what: Length(quantile(of, 0.5), quantile(of, 0.95)) for what, of in bins.items()}
    return Part(at, numbers[QUEUED], numbers[STARTED], ended, lengths[WAITED], lengths[TOOK])


def _of_functions(conn: Connection, numbers: Mapping[str, Mapping[str, int]]) -> list[OfFunction]:
    known = {it.id: it for it in functions.functions_of(conn)} if numbers else {}
    found = [
        OfFunction(
            function_id,
            known.get(function_id),
            whats.get(QUEUED, 0),
            sum(whats.get(status.value, 0) for status in ENDS if status is not Status.SKIPPED),
            whats.get(Status.FAILED.value, 0),
        )
        for function_id, whats in numbers.items()
    ]
    return sorted(found, key=lambda it: (-it.queued, -it.ended, it.function_id))
