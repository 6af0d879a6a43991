"""Events: facts received or produced, and how they are written for the functions that get them.

An event's JSON parts are kept as text from the moment they come in; nothing here parses them again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

#: Reserved for events that the server itself produces.
INTERNAL_PREFIX = "inngest/"
FUNCTION_FINISHED = "inngest/function.finished"
FUNCTION_FAILED = "inngest/function.failed"
FUNCTION_CANCELLED = "inngest/function.cancelled"
FUNCTION_INVOKED = "inngest/function.invoked"
DEFERRED_SCHEDULE = "inngest/deferred.schedule"
SCHEDULED_TIMER = "inngest/scheduled.timer"
#: Runs these start produce no events of their end: they would call each other for ever.
ENDINGS = frozenset({FUNCTION_FINISHED, FUNCTION_FAILED})


@dataclass(frozen=True, slots=True)
class Event:
    """One immutable fact.  `data`, `user` and `meta` are JSON text; `ts` is Unix milliseconds."""

    id: str
    name: str
    data: str
    ts: int
    received_at: datetime
    external_id: str | None = None
    user: str | None = None
    v: str | None = None
    meta: str | None = None

    @property
    def internal(self) -> bool:
        """Whether the server made it."""
        return is_internal(self.name)

    def wire(self) -> str:
        """The JSON text the functions receive (keys in canonical order)."""
        parts = [f'"data":{self.data},"id":{_text(self.external_id or self.id)}']
        if self.meta is not None:
            parts.append(f'"meta":{self.meta}')
        parts.append(f'"name":{_text(self.name)},"ts":{self.ts},"user":{self.user or "{}"}')
        if self.v is not None:
            parts.append(f'"v":{_text(self.v)}')
        return "{" + ",".join(parts) + "}"

    @property
    def happens_at(self) -> datetime:
        """The moment in `ts`."""
        return datetime.fromtimestamp(self.ts / 1000, UTC)


def is_internal(name: str) -> bool:
    """Whether only the server may send events of this name."""
    return name.lower().startswith(INTERNAL_PREFIX)


def patterns(name: str) -> list[str]:
    """The trigger names an event of this name answers to: itself, and `*` after each `/` or `.` in it."""
    return [name, *(name[: at + 1] + "*" for at, mark in enumerate(name) if mark in "/.")]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, as its finished event tells it.  `events` are wire texts; `result` and `error` JSON text."""

    function_slug: str
    run_id: str
    status: str
    events: Sequence[str]
    result: str | None = None
    error: str | None = None
    correlation_id: str | None = None
    #: How often the run had ended before: a run that was requeued ends again.
    before: int = 0

    def data(self) -> str:
        """The `data` of function.finished, .failed and .cancelled."""
        status = json.dumps({"status": self.status.capitalize()})
        parts = [f'"_inngest":{status}']
        if self.correlation_id is not None:
            parts.append(f'"correlation_id":{_text(self.correlation_id)}')
        if self.error is not None:
            parts.append(f'"error":{self.error}')
        parts.append(f'"event":{self.events[0]},"events":[{",".join(self.events)}]')
        parts.append(f'"function_id":{_text(self.function_slug)}')
        if self.result is not None:
            parts.append(f'"result":{self.result}')
        parts.append(f'"run_id":{_text(self.run_id)}')
        return "{" + ",".join(parts) + "}"


def ending_events(ending: Ending, trigger_name: str, now: datetime, new_ids: tuple[str, str]) -> list[Event]:
    """The events that tell of a run's end; none for runs that such an event started.

    The failed or cancelled event has the run's id as its sender's id, so that it starts a function only once for each
    end; a run's second end has `ID.2`.
    """
    if trigger_name in ENDINGS:
        return []
    ts = int(now.timestamp() * 1000)
    data = ending.data()
    events = [Event(new_ids[0], FUNCTION_FINISHED, data, ts, now)]
    special = {"failed": FUNCTION_FAILED, "cancelled": FUNCTION_CANCELLED}.get(ending.status)
    if special:
        external_id = f"{ending.run_id}.{ending.before + 1}" if ending.before else ending.run_id
        events.append(Event(new_ids[1], special, data, ts, now, external_id=external_id))
    return events


@dataclass(frozen=True, slots=True)
class Invocation:
    """One function calling another, as its event tells it.  `data` is a JSON object, `expires_at` when it gives up."""

    run_id: str
    step_id: str
    step_name: str
    function: str
    data: str
    expires_at: datetime
    source_app_id: str
    source_function_id: str
    source_version: int
    user: str | None = None
    v: str | None = None


def invoked_event(invocation: Invocation, now: datetime, new_id: str) -> Event:
    """The event that starts the invoked function, and that tells everybody who listens."""
    about = json.dumps(
        {
            "correlation_id": f"{invocation.run_id}.{invocation.step_id}",
            "expire": int(invocation.expires_at.timestamp() * 1000),
            "fn_id": invocation.function,
            "gid": invocation.step_id,
            "name": invocation.step_name,
            "source_app_id": invocation.source_app_id,
            "source_fn_id": invocation.source_function_id,
            "source_fn_v": invocation.source_version,
        },
        ensure_ascii=False,
    )
    ts = int(now.timestamp() * 1000)
    data = _with_about(invocation.data, about)
    return Event(new_id, FUNCTION_INVOKED, data, ts, now, user=invocation.user, v=invocation.v)


def ordered_event(
    function: str, data: str, user: str | None, now: datetime, new_id: str, run_id: str | None = None
) -> Event:
    """The event that starts a function because somebody outside wants it; `data` is a JSON object.

    `run_id` is the id that the run gets (None: any).
    """
    told = {"fn_id": function, "type": "api"} | ({"run_id": run_id} if run_id is not None else {})
    about = json.dumps(told, ensure_ascii=False)
    return Event(new_id, FUNCTION_INVOKED, _with_about(data, about), int(now.timestamp() * 1000), now, user=user)


def deferred_event(function: str, data: str, about: dict[str, str], key: str, now: datetime, new_id: str) -> Event:
    """The event that starts a deferred function with `data` (a JSON object).

    `about` says who deferred it; `key` is the event's own id, so that it starts the function only once.
    """
    text = _with_about(data, json.dumps({"fn_slug": function} | about, ensure_ascii=False))
    return Event(new_id, DEFERRED_SCHEDULE, text, int(now.timestamp() * 1000), now, external_id=key)


def _with_about(data: str, about: str) -> str:
    """The data (a JSON object) and what the server says of them: last, so that it counts whatever the data have."""
    members = data.strip()[1:-1].strip()
    return "{" + (members + "," if members else "") + f'"_inngest":{about}}}'


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
