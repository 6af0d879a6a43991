"""What is searched for among runs and events, in which order, and how a search goes on after a page.

A search is in one total order: by a time of the run, and where that is equal by its id.  A run that has no such time
yet (it has not begun, or not ended) comes last where the newest come first, and first where the oldest do.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from orchestrator.core.effect import Status
from orchestrator.errors import RequestError
from orchestrator.ids import is_ulid

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NEVER = "-"
#: No cursor of ours is longer.
_LONGEST = 128


class TimeField(StrEnum):
    """One of the times of a run."""

    #: When it came to be.
    QUEUED = "queued"
    #: When its first call began.
    STARTED = "started"
    #: When it ended.
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are wanted; what is empty or None does not matter."""

    #: That moment or later.
    since: datetime | None = None
    #: Before that moment.
    until: datetime | None = None
    #: Which time of the run `since` and `until` are about.
    time_field: TimeField = TimeField.QUEUED
    statuses: tuple[Status, ...] = ()
    function_ids: tuple[str, ...] = ()
    app_ids: tuple[str, ...] = ()
    #: The name of the event it is known by.
    event_name: str | None = None
    #: Whether another run deferred it; None does not matter.
    deferred: bool | None = None
    #: A condition in CEL over `event` and `output`; evaluated by `engine.search`.
    query: str | None = None
    #: The fingerprint of its failure (see `core.failure`).
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class RunOrder:
    """In which order runs are wanted."""

    field: TimeField = TimeField.QUEUED
    descending: bool = True

    @property
    def kind(self) -> str:
        """The order's name in cursors."""
        return f"r{self.field.value[0]}{'d' if self.descending else 'a'}"


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted, by when they were received; what is empty or None does not matter."""

    since: datetime | None = None
    until: datetime | None = None
    names: tuple[str, ...] = ()
    #: Where no names are asked for: also those that the server made itself.
    include_internal: bool = False
    #: A condition in CEL over `event`; evaluated by `engine.search`.
    query: str | None = None


#: Events are in the order in which they were received, the newest first.
EVENT_KIND = "ed"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in an order: that of the row with this time and this id."""

    #: Of which order it is a place.
    kind: str
    at: datetime | None
    id: str

    def encode(self) -> str:
        """Write the place as a text that means nothing to anybody else."""
        at = _NEVER if self.at is None else str((self.at - _EPOCH) // _MICROSECOND)
        return base64.urlsafe_b64encode(f"{self.kind}.{at}.{self.id}".encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, kind: str) -> Cursor:
        """Read a place in the order `kind`.  Raises `RequestError` for anything that `encode` has not made for it."""
        found = cls._read(text)
        if found is None:
            raise RequestError("the cursor is none of this server's: take it from the page before, as it is")
        if found.kind != kind:
            raise RequestError("the cursor belongs to another order: begin again without it")
        return found

    @classmethod
    def _read(cls, text: str) -> Cursor | None:
        if len(text) > _LONGEST or not text.isascii():
            return None
        try:
            kind, at, row_id = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode().split(".")
            moment = None if at == _NEVER else _EPOCH + int(at) * _MICROSECOND
        except (binascii.Error, ValueError, OverflowError):
            return None
        return cls(kind, moment, row_id) if is_ulid(row_id) else None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of what was found."""

    items: tuple[T, ...]
    #: The place of each item.
    cursors: tuple[str, ...]
    #: Whether there is more, or may be more where a search stopped at its budget.
    has_next: bool
    #: Where to go on: after the last item, or after the last row that was looked at.
    end_cursor: str | None
    #: There where a search stopped at its budget: the time of the last row that was looked at.
    scanned_until: datetime | None = None
    #: Why the query could not be tried on a row, which then is none that was looked for.
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are; where that is not `exact` there are at least so many."""

    number: int
    exact: bool
