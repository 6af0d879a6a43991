"""The options that choose runs: the same for those that are listed and for those that something is done to."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.terminal import parse_time

Command = TypeVar("Command", bound=Callable[..., Any])

STATUSES = ("queued", "running", "completed", "failed", "cancelled", "skipped")
TIMES = ("queued_at", "started_at", "ended_at")
_AGO = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which runs are meant, as REST wants to know it."""

    status: Sequence[str]
    function: Sequence[str]
    app: Sequence[str]
    since: str | None
    until: str | None
    time_field: str | None
    query: str | None
    failure: str | None

    def body(self) -> dict[str, object]:
        """The filter of an order."""
        given = {name: list(getattr(self, name)) for name in ("status", "function", "app")}
        said = {name: getattr(self, name) for name in ("since", "until", "time_field", "query", "failure")}
        return {name: it for name, it in (given | said).items() if it}

    def parameters(self) -> dict[str, str]:
        """The same as the parameters of a list."""
        return {name: ",".join(it) if isinstance(it, list) else str(it) for name, it in self.body().items()}


def choosing(command: Command) -> Command:
    """Give a command the options; it gets a `Choice` as `choice`."""

    @click.option("--status", multiple=True, type=click.Choice(STATUSES), help="Only runs of this status; repeatable.")
    @click.option("--function", multiple=True, metavar="SLUG", help="Only runs of this function; repeatable.")
    @click.option("--app", multiple=True, metavar="NAME", help="Only runs of functions of this app; repeatable.")
    @click.option("--since", metavar="TIME", help="That moment or later: 2h, 7d (ago), or 2026-01-31T09:30:00Z.")
    @click.option("--until", metavar="TIME", help="Before that moment.")
    @click.option("--time-field", type=click.Choice(TIMES), help="Which time that is about.  [default: queued_at]")
    @click.option("--query", metavar="CEL", help="Only runs that meet a condition over `event` and `output`.")
    @click.option("--failure", metavar="HEX", help="Only failures of a kind: a `failure` of GET /v1/failures.")
    @functools.wraps(command)
    def wrapped(
        status: Sequence[str],
        function: Sequence[str],
        app: Sequence[str],
        since: str | None,
        until: str | None,
        time_field: str | None,
        query: str | None,
        failure: str | None,
        **options: Any,
    ) -> Any:
        now = datetime.now(UTC)
        begin, end = _moment("--since", since, now), _moment("--until", until, now)
        return command(choice=Choice(status, function, app, begin, end, time_field, query, failure), **options)

    return wrapped  # type: ignore[return-value]  # click passes by keyword whatever `command` names.


def _moment(option: str, text: str | None, now: datetime) -> str | None:
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    try:
        found = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else parse_time(text)
        moment = found.astimezone(UTC) if found is not None else None
    except OverflowError:  # before all times, or after them
        moment = None
    if moment is None:
        raise Problem(
            f"{option} must be a time ago such as 30m, 2h or 7d, or a moment such as 2026-01-31T09:30:00Z; "
            f"{text!r} is neither",
            Exit.USAGE,
        )
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
