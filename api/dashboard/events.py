"""Events: what came, what each started, and sending one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import orjson
from flask import Response, request

from orchestrator.api.current import current_server
from orchestrator.api.dashboard.lists import ROWS, SPANS, Times, address, mark, text
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.run_filters import EVERY, EVERY_SEARCH
from orchestrator.api.dashboard.templating import go, nothing_new, page
from orchestrator.api.dashboard.visitor import actor
from orchestrator.api.routing import check_ulid
from orchestrator.core.event import is_internal
from orchestrator.engine.search import search_events
from orchestrator.engine.send import send
from orchestrator.engine.why import why_event
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.ids import new_ulid
from orchestrator.protocol.events import parse_events
from orchestrator.store import events, search
from orchestrator.store.database import Connection
from orchestrator.store.event_search import EventRow
from orchestrator.store.filters import EventFilter, Page

#: Names of recent events that are offered as examples.
_EXAMPLES = 6
#: Characters of a payload that a list shows; and of one that is offered as an example.
_PREVIEW, _EXAMPLE = 200, 20_000
#: A young event may start a run at any moment.
_YOUNG = timedelta(minutes=1)


class _Payload(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"null")


_payloads = msgspec.json.Decoder(_Payload)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the address asks for."""

    name: str
    query: str
    internal: bool
    times: Times
    after: str

    @classmethod
    def read(cls) -> Wanted:
        """Read the address.  Raises `RequestError`."""
        args = request.args
        times = Times.read(args, current_server().parts.clock.now())
        return cls(text(args, "name"), text(args, "q"), bool(args.get("internal")), times, text(args, "after"))

    def filter(self) -> EventFilter:
        """The same for the store."""
        names = (self.name,) if self.name else ()
        return EventFilter(self.times.since, self.times.until, names, self.internal, self.query or None)

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.name or self.query or self.internal) or self.times != Times()

    @property
    def every(self) -> int | None:
        """How often the list looks for something new; older pages do not change."""
        return None if self.after else EVERY_SEARCH if self.query else EVERY


@routes.page("/events")
def show_events() -> Response:
    """Show the newest events that are asked for."""
    wanted = Wanted.read()
    with current_server().parts.database.read() as conn:
        found, error = _found(conn, wanted)
        recent = search_events(conn, EventFilter()).items
    status = 400 if error else 200
    known = _examples(recent)
    return page("events.html", status, wanted=wanted, spans=SPANS, error=error, examples=known, **_list(wanted, found))


@routes.page("/events/list")
def list_events() -> Response:
    """The list alone, for a page that is open: nothing where nothing changed."""
    wanted = Wanted.read()
    with current_server().parts.database.read() as conn:
        found, error = _found(conn, wanted)
    if error or mark(found.items) == request.args.get("seen"):
        return nothing_new()
    return page("events_list.html", wanted=wanted, **_list(wanted, found))


@routes.page("/events/<event_id>")
def show_event(event_id: str) -> Response:
    """Show an event, the runs that it started, and what it waits for to start one."""
    parts = current_server().parts
    with parts.database.read() as conn:
        event = events.get(conn, check_ulid("event_id", event_id))
        if event is None:
            raise NotFoundError(f"there is no event {event_id}; events that came long ago are deleted")
        started = search.runs_of_event(conn, event.id)
        reasons = why_event(parts.versions, conn, event)
    young = parts.clock.now() - event.received_at < _YOUNG
    unsettled = young or bool(reasons) or any(not run.status.final for run in started)
    seen = mark([event.warning, reasons, started, unsettled])
    if seen == request.args.get("seen"):
        return nothing_new()
    return page(
        "event.html",
        event=event,
        runs=started,
        reasons=reasons,
        young=young,
        every=EVERY if unsettled else None,
        poll=address(f"/events/{event.id}", request.args, seen=seen),
        # Nobody but the server sends those of its own.
        carried=data_of(event.payload) if not is_internal(event.name) else None,
    )


@routes.page("/events/<event_id>/raw")
def raw_event(event_id: str) -> Response:
    """The whole of an event, as text."""
    with current_server().parts.database.read() as conn:
        event = events.get(conn, check_ulid("event_id", event_id))
    if event is None:
        raise NotFoundError(f"there is no event {event_id}")
    return Response(event.payload, content_type="text/plain; charset=utf-8")


@routes.action("/events/send")
def send_event() -> Response:
    """Send an event, as a sender would."""
    server, name = current_server(), text(request.form, "name")
    data = request.form.get("data", "").strip() or "{}"
    body = b'{"name":%b,"data":%b}' % (orjson.dumps(name), _json(data))
    now = server.parts.clock.now()
    parsed = parse_events(body, id_at=lambda _: new_ulid(), now=now, limits=server.event_limits)
    if parsed.error is not None:
        raise parsed.error
    [event] = parsed.events
    event_id = send(server.parts, event, actor())
    return go(f"/events/{event_id}", f"{name} is sent")


def data_of(payload: str) -> str:
    """The data of an event as a form takes them: indented, with every number as its sender wrote it."""
    return msgspec.json.format(_payloads.decode(payload).data, indent=2).decode()


def _json(data: str) -> bytes:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"data must be JSON: {error}") from None
    return data.encode()


def _found(conn: Connection, wanted: Wanted) -> tuple[Page[EventRow], str]:
    """The events, and what is wrong with what is asked for."""
    try:
        return search_events(conn, wanted.filter(), wanted.after or None, ROWS), ""
    except RequestError as error:
        return Page((), (), False, None), error.message


def _list(wanted: Wanted, found: Page[EventRow]) -> dict[str, Any]:
    args = request.args.copy()
    args.poplist("seen")
    return {
        "found": found,
        "preview": _PREVIEW,
        "poll": address("/events/list", args, seen=mark(found.items)),
        "first": address("/events", args, after="") if wanted.after else "",
        "older": address("/events", args, after=found.end_cursor or "") if found.has_next else "",
    }


def _examples(recent: tuple[EventRow, ...]) -> list[tuple[str, str]]:
    """The latest events of different names, with their data."""
    found = dict[str, str]()
    for event in recent:
        if event.name not in found and len(found) < _EXAMPLES and len(event.payload) <= _EXAMPLE:
            found[event.name] = data_of(event.payload)
    return list(found.items())
