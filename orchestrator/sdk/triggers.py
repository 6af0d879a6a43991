"""What starts a function, and what it waits for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestrator.core.durations import format_duration

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, slots=True)
class Event:
    """Events of a name: as a trigger, as what is waited for, or as what cancels.

    `if_` is a CEL expression over `event` (for waits and cancels: `event` started the run, `async` is the newcomer).
    `match` is short for "this member is the same in both", such as "data.orderId".  `data` is the class the event's
    data is turned into: a Pydantic model, a dataclass or a msgspec struct.
    """

    name: str
    if_: str | None = None
    match: str | None = None
    data: type[Any] | None = None

    def condition(self) -> str | None:
        """The expression for waits and cancels.  Raises `ValueError` for a path that is none."""
        parts = []
        if self.match is not None:
            if not _PATH.fullmatch(self.match):
                raise ValueError(f'match: "{self.match}" is not a path like "data.orderId"')
            parts.append(f"event.{self.match} == async.{self.match}")
        if self.if_ is not None:
            parts.append(f"({self.if_})" if parts else self.if_)
        return " && ".join(parts) or None

    def trigger(self) -> dict[str, Any]:
        """The trigger as an app declares it."""
        if self.match is not None:
            raise ValueError(f'Event("{self.name}"): match compares two events, a trigger sees one; use if_')
        return {"event": self.name} | ({"expression": self.if_} if self.if_ is not None else {})


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron line of five fields, perhaps with `TZ=Area/City` before it; `jitter` spreads the starts."""

    line: str
    jitter: timedelta | None = None

    def trigger(self) -> dict[str, Any]:
        """The trigger as an app declares it."""
        return {"cron": self.line} | ({"jitter": format_duration(self.jitter)} if self.jitter is not None else {})


@dataclass(frozen=True, slots=True)
class Cancel:
    """An event that cancels the function's runs, within `within` of their start."""

    on: Event
    within: timedelta | None = None

    def config(self) -> dict[str, Any]:
        """The cancellation as an app declares it."""
        condition = self.on.condition()
        return (
            {"event": self.on.name}
            | ({"if": condition} if condition is not None else {})
            | ({"timeout": format_duration(self.within)} if self.within is not None else {})
        )


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be sent.  `id` makes sending it twice within a day start nothing twice."""

    name: str
    data: Any = None
    id: str | None = None
    ts: datetime | None = None
    user: Any = None
    v: str | None = None


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event as a function sees it; `data` is what its trigger's class made of it, otherwise plain JSON values."""

    id: str
    name: str
    data: Any
    ts: datetime
    user: Any = None
    v: str | None = None
