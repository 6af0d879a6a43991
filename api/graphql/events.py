"""Events and what they started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from ariadne import ObjectType

from orchestrator.api.graphql.context import Context
from orchestrator.api.graphql.fields import Info, object_type
from orchestrator.api.graphql.pages import check_first, connection, counted, some_of
from orchestrator.api.render import ENVIRONMENT_ID
from orchestrator.api.routing import check_ulid
from orchestrator.core.effect import Status
from orchestrator.core.event import SCHEDULED_TIMER
from orchestrator.engine.search import count_events, search_events
from orchestrator.errors import NotFoundError
from orchestrator.ids import ulid_moment
from orchestrator.store.event_search import EventRow
from orchestrator.store.filters import EVENT_KIND, Cursor, EventFilter
from orchestrator.store.search import RunRow

#: Of one list without pages.
_MOST = 100

query = ObjectType("Query")


@query.field("event")
def _event(_root: object, info: Info, query: Mapping[str, str]) -> EventRow | None:
    asked, event_id = info.context, check_ulid("eventId", query["eventId"])
    asked.runs_of_event.expect([event_id])
    return asked.events.get(event_id)


@query.field("eventV2")
def _event_v2(_root: object, info: Info, id: str) -> EventRow:
    found = info.context.events.get(id)
    if found is None:
        raise NotFoundError(f"there is no event {id}")
    return found


@query.field("events")
def _list_events(_root: object, info: Info, query: Mapping[str, str]) -> Sequence[EventRow]:
    asked, after = info.context, None
    if query.get("lastEventId") is not None:
        last_id = check_ulid("lastEventId", query["lastEventId"])
        last = asked.events.get(last_id)
        # Of one that is gone the id still tells about when it came.
        at = last.received_at if last is not None else ulid_moment(last_id)
        after = Cursor(EVENT_KIND, at, last_id).encode()
    return _newest(asked, EventFilter(include_internal=True), _MOST, after)


@query.field("eventsV2")
def _events_v2(
    _root: object, info: Info, filter: Mapping[str, Any], first: int, after: str | None = None
) -> dict[str, object]:
    asked = info.context
    check_first(first)
    wanted = EventFilter(
        since=filter["from"],
        until=filter.get("until"),
        names=some_of(filter, "eventNames"),
        include_internal=filter["includeInternalEvents"],
        query=filter.get("query") or None,
    )
    with asked.parts.database.read() as conn:
        page = search_events(conn, wanted, after or None, first)
    asked.know_events(page.items)
    asked.items(page.items)
    asked.warn(page.error)

    def count() -> int:
        with asked.parts.database.read() as conn:
            if wanted.query is None:
                return count_events(conn, wanted).number
            return counted(lambda cursor, most: search_events(conn, wanted, cursor, most))

    return connection(page, after, count)


@query.field("stream")
def _stream(_root: object, info: Info, query: Mapping[str, Any]) -> Sequence[EventRow]:
    check_first(query["limit"], "limit")
    wanted = EventFilter(
        since=query.get("after"), until=query.get("before"), include_internal=query["includeInternalEvents"]
    )
    return _newest(info.context, wanted, query["limit"], None)


def _newest(asked: Context, wanted: EventFilter, most: int, after: str | None) -> Sequence[EventRow]:
    with asked.parts.database.read() as conn:
        page = search_events(conn, wanted, after, most)
    asked.know_events(page.items)
    return asked.items(page.items)


def runs_of(event: EventRow, asked: Context) -> Sequence[RunRow]:
    """The runs that the event started, or had a part in starting."""
    found = asked.runs_of_event.get(event.id) or []
    asked.know_runs(found)
    return asked.items(found)


def _status(event: EventRow, asked: Context) -> str:
    statuses = [run.status for run in asked.runs_of_event.get(event.id) or ()]
    if not statuses:
        return "NO_FUNCTIONS"
    if not all(status.final for status in statuses):
        return "RUNNING"
    failed = statuses.count(Status.FAILED)
    return "COMPLETED" if not failed else "FAILED" if failed == len(statuses) else "PARTIALLY_FAILED"


def _pending(event: EventRow, asked: Context) -> int:
    return sum(not run.status.final for run in asked.runs_of_event.get(event.id) or ())


def happens_at(event: EventRow) -> datetime:
    """The moment in `ts`."""
    return datetime.fromtimestamp(event.ts / 1000, UTC)


class _Payload(msgspec.Struct):
    """What is told apart of a payload; the data stay the text they are."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    v: str | None = None


def data_of(event: EventRow) -> str:
    """The event's data, as JSON text."""
    return bytes(msgspec.json.decode(event.payload, type=_Payload).data).decode()


def _version(event: EventRow, _asked: Context) -> str | None:
    return msgspec.json.decode(event.payload, type=_Payload).v


def _trigger(event: EventRow, _asked: Context) -> str:
    return cron_of(event) or event.name


def cron_of(event: EventRow) -> str | None:
    """The line of the schedule that the event tells of, if it does."""
    data = msgspec.json.decode(data_of(event)) if event.name == SCHEDULED_TIMER else None
    line = data.get("cron") if isinstance(data, dict) else None
    return line if isinstance(line, str) else None


event_type = object_type(
    "Event",
    {
        "id": lambda event, _: event.id,
        "externalID": lambda event, _: event.external_id,
        "name": lambda event, _: event.name,
        "createdAt": lambda event, _: happens_at(event),
        "payload": lambda event, _: data_of(event),
        "schema": lambda _event, _: None,
        "status": _status,
        "pendingRuns": _pending,
        "totalRuns": lambda event, asked: len(asked.runs_of_event.get(event.id) or ()),
        "raw": lambda event, _: event.payload,
        "functionRuns": runs_of,
    },
)

event_v2_type = object_type(
    "EventV2",
    {
        "envID": lambda _event, _: ENVIRONMENT_ID,
        "id": lambda event, _: event.id,
        "idempotencyKey": lambda event, _: event.external_id,
        "name": lambda event, _: event.name,
        "occurredAt": lambda event, _: happens_at(event),
        "raw": lambda event, _: event.payload,
        "receivedAt": lambda event, _: event.received_at,
        "runs": runs_of,
        "source": lambda _event, _: None,
        "version": _version,
    },
)

stream_item_type = object_type(
    "StreamItem",
    {
        "id": lambda event, _: event.id,
        "trigger": _trigger,
        "type": lambda event, _: "CRON" if event.name == SCHEDULED_TIMER else "EVENT",
        "createdAt": lambda event, _: event.received_at,
        "runs": runs_of,
        "inBatch": lambda event, asked: any(run.batch_id for run in asked.runs_of_event.get(event.id) or ()),
    },
)
