"""What finding runs is about: what is wanted in which order, and where in it something stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, case, literal_column, or_

from orchestrator.core.event import DEFERRED_SCHEDULE
from orchestrator.store.filters import Cursor, RunFilter, RunOrder, TimeField
from orchestrator.store.needles import Needle
from orchestrator.store.tables import runs

_EARLIEST = datetime.min.replace(tzinfo=UTC)
TIMES: dict[TimeField, Any] = {
    TimeField.QUEUED: runs.c.queued_at,
    TimeField.STARTED: runs.c.started_at,
    TimeField.ENDED: runs.c.ended_at,
}
#: A run's output, which for a failed one is its error.
RESULT: Any = case((runs.c.status == literal_column("'failed'"), runs.c.error), else_=runs.c.output)
COLUMNS = (
    runs.c.id,
    runs.c.function_id,
    runs.c.status,
    runs.c.queued_at,
    runs.c.started_at,
    runs.c.ended_at,
    runs.c.event_name,
)


@dataclass(frozen=True, slots=True)
class Place:
    """A row's id with the time it is ordered by."""

    id: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Places:
    """What was found; `reached` is there where that is not all: the last row that was looked at."""

    found: Sequence[Place]
    reached: Place | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search as the ways go about it."""

    filter: RunFilter
    order: RunOrder
    after: Cursor | None
    function_ids: Sequence[str] | None
    needles: Sequence[Needle] = ()

    @property
    def field(self) -> TimeField:
        """The time that it is ordered by."""
        return self.order.field

    @property
    def ranged(self) -> bool:
        """Whether there is a range of times."""
        return self.filter.since is not None or self.filter.until is not None

    @property
    def ranged_elsewhere(self) -> bool:
        """Whether that is about another time than the order."""
        return self.ranged and self.filter.time_field is not self.field

    @property
    def branching(self) -> bool:
        """Whether functions or statuses are asked for."""
        return bool(self.filter.statuses) or self.function_ids is not None

    @property
    def tries(self) -> bool:
        """Whether there are conditions that the order does not see to."""
        return bool(self.branching or self.ranged_elsewhere or self.by_event or self.needles)

    @property
    def by_failure(self) -> bool:
        """Whether failures of one kind are asked for: then no other run is so much as looked at."""
        return self.filter.failure is not None

    @property
    def by_event(self) -> bool:
        """Whether something is asked of the name of the event."""
        return self.filter.event_name is not None or self.filter.deferred is not None

    def within(self, field: TimeField) -> tuple[datetime | None, datetime | None]:
        """From when and until when runs are wanted, by a time of theirs."""
        return (self.filter.since, self.filter.until) if self.filter.time_field is field else (None, None)

    def lets(self, row: Row[Any]) -> bool:
        """Whether a gathered run meets the conditions that gathering left aside, and comes after the cursor."""
        at = getattr(row, f"{self.filter.time_field.value}_at")
        since, until, name = self.filter.since, self.filter.until, self.filter.event_name
        if self.filter.statuses and row.status not in self.filter.statuses:
            return False
        if self.function_ids is not None and row.function_id not in self.function_ids:
            return False
        if self.ranged and (at is None or (since is not None and at < since) or (until is not None and at >= until)):
            return False
        if name is not None and row.event_name != name:
            return False
        if self.filter.deferred is not None and self.filter.deferred != (row.event_name == DEFERRED_SCHEDULE):
            return False
        return self.after is None or self._is_after(row, self.after)

    def _is_after(self, row: Row[Any], after: Cursor) -> bool:
        mine, other = self.key(self.at(row), row.id), self.key(after.at, after.id)
        return mine < other if self.order.descending else mine > other

    def at(self, row: Row[Any]) -> datetime | None:
        """The time a run is ordered by."""
        at: datetime | None = getattr(row, f"{self.field.value}_at")
        return at

    @staticmethod
    def key(at: datetime | None, run_id: str) -> tuple[bool, datetime, str]:
        """What runs are sorted by: one without the time is before all others."""
        return at is not None, at or _EARLIEST, run_id


def beyond(at: Any, descending: bool) -> ColumnElement[bool]:
    """After the cursor; written so that every database takes the first part for a range of the index."""
    at_cursor, after_id = bindparam("after_at", type_=at.type), bindparam("after_id", type_=runs.c.id.type)
    if descending:
        return and_(at <= at_cursor, or_(at < at_cursor, runs.c.id < after_id))
    return and_(at >= at_cursor, or_(at > at_cursor, runs.c.id > after_id))
