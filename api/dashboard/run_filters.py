"""Which runs the address asks for."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request

from orchestrator.api.current import current_server
from orchestrator.api.dashboard.lists import Times, text
from orchestrator.core.effect import Status
from orchestrator.core.failure import LENGTH, is_fingerprint
from orchestrator.errors import RequestError
from orchestrator.store import functions
from orchestrator.store.database import Connection
from orchestrator.store.filters import RunFilter, RunOrder, TimeField

#: Milliseconds between two looks for something new; a search by a condition costs more.
EVERY, EVERY_SEARCH = 2_000, 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the address asks for."""

    statuses: tuple[Status, ...]
    function: str
    app: str
    event: str
    query: str
    #: The fingerprint of a failure.
    failure: str
    #: Which time of the runs is meant, and what they are ordered by.
    by: TimeField
    times: Times
    after: str

    @classmethod
    def read(cls) -> Wanted:
        """Read the address.  Raises `RequestError`."""
        args = request.args
        return cls(
            statuses=tuple(_status(it) for it in args.getlist("status") if it),
            function=text(args, "function"),
            app=text(args, "app"),
            event=text(args, "event"),
            query=text(args, "q"),
            failure=_failure(text(args, "failure")),
            by=_by(text(args, "by")),
            times=Times.read(args, current_server().parts.clock.now()),
            after=text(args, "after"),
        )

    def filter(self, conn: Connection) -> RunFilter:
        """The same for the store; what is out of service has its runs, a function or an app that is not known none."""
        function = functions.function(conn, self.function) if self.function else None
        app = functions.app_by_name(conn, self.app) if self.app else None
        return RunFilter(
            since=self.times.since,
            until=self.times.until,
            time_field=self.by,
            statuses=self.statuses,
            function_ids=(function.id,) if function is not None else _none(self.function),
            app_ids=(app.id,) if app is not None else _none(self.app),
            event_name=self.event or None,
            query=self.query or None,
            failure=self.failure or None,
        )

    @property
    def order(self) -> RunOrder:
        """The newest first, by the time that is meant."""
        return RunOrder(self.by)

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        asked = (self.statuses, self.function, self.app, self.event, self.query, self.failure)
        return any(asked) or self.times != Times()

    @property
    def every(self) -> int | None:
        """How often the list looks for something new; older pages do not change."""
        return None if self.after else EVERY_SEARCH if self.query else EVERY


def _status(value: str) -> Status:
    try:
        return Status(value)
    except ValueError:
        raise RequestError(f"status must be one of {', '.join(Status)}, not {value[:60]}") from None


def _failure(value: str) -> str:
    if value and not is_fingerprint(value):
        raise RequestError(f"failure must be a fingerprint of {LENGTH} hexadecimal digits, as the overview links to it")
    return value


def _by(value: str) -> TimeField:
    try:
        return TimeField(value or TimeField.QUEUED)
    except ValueError:
        raise RequestError(f"by must be one of {', '.join(TimeField)}, not {value[:60]}") from None


def _none(name: str) -> tuple[str, ...]:
    return ("",) if name else ()
