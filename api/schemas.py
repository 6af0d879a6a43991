"""What comes in by query, checked; and the shapes of what goes out, for the OpenAPI document."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from orchestrator.ids import is_ulid
from orchestrator.protocol.sync_limits import MAX_EXPRESSION, MAX_URL
from orchestrator.queue.announce import BrokerState

MAX_EVENTS = 100
MAX_NAME = 512
MAX_JOB = 2**63 - 1
ULID_PATTERN = "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"
#: Databases refuse a zero byte.
PLAIN = r"^[^\u0000]+$"
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?\d*(Z|[+-]\d\d:\d\d)", re.ASCII)


class Whole(fields.Integer):
    """A whole number written in plain digits, between two bounds."""

    def __init__(self, least: int, most: int, **kwargs: Any) -> None:
        self._wish = f"must be a whole number from {least} to {most}"
        super().__init__(validate=validate.Range(least, most, error=self._wish), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not isinstance(value, str) or not _WHOLE.fullmatch(value):
            raise ValidationError(self._wish)
        return int(value)


class Few(fields.List[Any]):
    """A list of at most so many; a longer one is not looked into, for each of its faults takes time to be told."""

    def __init__(self, inner: fields.Field[Any], most: int, error: str, *, least: int = 0, **kwargs: Any) -> None:
        super().__init__(inner, validate=validate.Length(least, most, error=error), **kwargs)
        self._most, self._wish = most, error

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, list) and len(value) > self._most:
            raise ValidationError(self._wish)
        return super()._deserialize(value, attr, data, **kwargs)


class Flag(fields.Boolean):
    """True or false of JSON; marshmallow takes 0 and 1 for them, too."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class Moment(fields.AwareDateTime):
    """A moment in RFC 3339 with its offset from UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        found = _RFC3339.fullmatch(value) if isinstance(value, str) else None
        try:
            if found is not None:
                # Digits beyond the microsecond are more than we keep.
                kept = found[0][:19] + (found[1] or "") + found[2]
                return datetime.fromisoformat(kept).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise ValidationError("must be a moment such as 2026-01-31T09:30:00Z (a + in the offset is written %2B)")


def _is_ulid(value: str) -> None:
    if not is_ulid(value):
        raise ValidationError("must be the internal_id (a ULID) of an event")


def _is_order(value: str) -> None:
    if not is_ulid(value):
        raise ValidationError("must be the id (a ULID) of a cancellation")


def check_name(value: str) -> None:
    """Raise `ValidationError` for what is no name of anything."""
    if not 0 < len(value) <= MAX_NAME or "\0" in value:
        raise ValidationError(f"must be a name of 1 to {MAX_NAME} characters")


class EventsQuery(Schema):
    """Which events are wanted."""

    limit = Whole(1, MAX_EVENTS, load_default=20, metadata={"description": "At most so many"})
    cursor = fields.String(
        validate=_is_ulid,
        metadata={
            "description": "Only events before this one: the internal_id of the last event of the page before",
            "pattern": ULID_PATTERN,
        },
    )
    name = fields.String(
        validate=check_name,
        metadata={"description": "Only events of this name", "minLength": 1, "maxLength": MAX_NAME, "pattern": PLAIN},
    )
    received_after = Moment(metadata={"description": "Only events received then or later"})
    received_before = Moment(metadata={"description": "Only events received before"})


class UrlQuery(Schema):
    """The app that is meant."""

    url = fields.String(
        required=True,
        error_messages={"required": "is missing: it must be the URL of an app"},
        metadata={"description": "The URL the app registered", "minLength": 1, "maxLength": MAX_URL, "format": "uri"},
    )


class CancellationsQuery(Schema):
    """Which orders are wanted."""

    limit = Whole(1, MAX_EVENTS, load_default=20, metadata={"description": "At most so many"})
    cursor = fields.String(
        validate=_is_order,
        metadata={
            "description": "Only orders before this one: the id of the last order of the page before",
            "pattern": ULID_PATTERN,
        },
    )


class CancellationBody(Schema):
    """Which live runs are to be cancelled."""

    app_id = fields.String(
        required=True,
        validate=check_name,
        error_messages={"required": "is missing: it must be the name of an app"},
        metadata={"description": "The app's name", "minLength": 1, "maxLength": MAX_NAME, "pattern": PLAIN},
    )
    function_id = fields.String(
        load_default=None,
        allow_none=True,
        validate=check_name,
        metadata={
            "description": "The function's id in the app, or its slug; without it: every function of the app",
            "minLength": 1,
            "maxLength": MAX_NAME,
            "pattern": PLAIN,
        },
    )
    started_after = Moment(
        load_default=None, allow_none=True, metadata={"description": "Only runs queued then or later"}
    )
    started_before = Moment(
        load_default=None, allow_none=True, metadata={"description": "Only runs queued by then; without it: by now"}
    )
    condition = fields.String(
        data_key="if",
        load_default=None,
        allow_none=True,
        validate=validate.Length(0, MAX_EXPRESSION, error=f"must have at most {MAX_EXPRESSION} characters"),
        metadata={"description": "Only runs whose event meets this condition, in CEL over `event`"},
    )


class CancellationShape(Schema):
    """An order to cancel many runs, and how far it got."""

    id = fields.String(required=True)
    environment_id = fields.UUID(required=True)
    app = fields.String(required=True, allow_none=True, metadata={"description": "The app's name"})
    function_id = fields.UUID(required=True, allow_none=True, metadata={"description": "None: all of the app"})
    function = fields.String(required=True, allow_none=True, metadata={"description": "The function's slug"})
    started_after = fields.AwareDateTime(required=True, allow_none=True)
    started_before = fields.AwareDateTime(required=True)
    condition = fields.String(data_key="if", metadata={"description": "There if runs had to meet one"})
    kind = fields.String(required=True, validate=validate.OneOf(["bulk_run"]))
    type = fields.String(required=True, validate=validate.OneOf(["manual"]))
    status = fields.String(required=True, validate=validate.OneOf(["Running", "Completed", "Failed"]))
    cancelled = fields.Integer(required=True, metadata={"description": "Runs cancelled so far"})
    error = fields.String(
        required=True, allow_none=True, metadata={"description": "Why the condition could not be tried on a run"}
    )
    created_at = fields.AwareDateTime(required=True)
    ended_at = fields.AwareDateTime(required=True, allow_none=True)


class JobsQuery(Schema):
    """Which jobs are wanted."""

    state = fields.String(
        load_default="dead",
        validate=validate.OneOf(["dead"], error="must be dead: jobs that live are shown with their runs"),
    )
    limit = Whole(1, MAX_EVENTS, load_default=20, metadata={"description": "At most so many"})
    cursor = Whole(
        1,
        MAX_JOB,
        metadata={"description": "Only jobs older than this one: the id of the last job of the page before"},
    )


class JobShape(Schema):
    """A job that was given up, and why."""

    id = fields.Integer(required=True)
    kind = fields.String(required=True, metadata={"description": "What it was to do: match, call, wake, resume ..."})
    state = fields.String(required=True, validate=validate.OneOf(["dead"]))
    run_id = fields.String(required=True, allow_none=True)
    function = fields.String(required=True, allow_none=True, metadata={"description": "The slug of its run's function"})
    step_id = fields.String(required=True, allow_none=True)
    event_ids = fields.List(
        fields.String(), required=True, metadata={"description": "Of a match job: the events that started nothing yet"}
    )
    crashes = fields.Integer(required=True, metadata={"description": "How often its workers were lost, or we failed"})
    error = fields.String(required=True, allow_none=True, metadata={"description": "Why it was given up"})
    run_at = fields.AwareDateTime(required=True, metadata={"description": "When it was due last"})


class SignalBody(Schema):
    """A signal and what it carries."""

    signal = fields.String(
        required=True,
        validate=validate.Length(1, 1024, error="must have 1 to 1024 characters"),
        error_messages={"required": "is missing"},
    )
    data = fields.Raw(load_default=None, allow_none=True)


class SignalledShape(Schema):
    """Whom a signal reached."""

    run_id = fields.String(required=True)


class ErrorShape(Schema):
    """An error: a sentence for people and a code for programs."""

    code = fields.String(required=True)
    error = fields.String(required=True)
    data = fields.Raw(required=True, allow_none=True)
    status = fields.Integer(required=True)


class MetadataShape(Schema):
    """When the data were read."""

    fetched_at = fields.AwareDateTime(required=True)
    cached_until = fields.AwareDateTime(required=True, allow_none=True)


class EventShape(Schema):
    """An event: `internal_id` is the server's id, `id` its sender's if there is one."""

    internal_id = fields.String(required=True)
    account_id = fields.UUID(required=True)
    environment_id = fields.UUID(required=True)
    source = fields.String(required=True)
    source_id = fields.String(required=True, allow_none=True)
    received_at = fields.AwareDateTime(required=True)
    warning = fields.String(metadata={"description": "What went wrong while its functions were looked for"})
    id = fields.String(required=True)
    name = fields.String(required=True)
    data = fields.Raw(required=True, allow_none=True)
    user = fields.Raw(required=True, allow_none=True)
    ts = fields.Integer(required=True, metadata={"description": "Unix milliseconds"})
    v = fields.String()
    meta = fields.Raw()


class AppShape(Schema):
    """An app; `error` says why it could not be synced the last time."""

    id = fields.UUID(required=True)
    name = fields.String(required=True, allow_none=True)
    url = fields.String(required=True)
    sdk_language = fields.String(required=True, allow_none=True)
    sdk_version = fields.String(required=True, allow_none=True)
    framework = fields.String(required=True, allow_none=True)
    app_version = fields.String(required=True, allow_none=True)
    function_count = fields.Integer(required=True)
    synced_at = fields.AwareDateTime(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    error_code = fields.String(required=True, allow_none=True)


class RegisteredShape(Schema):
    """The answer to a registration."""

    ok = fields.Boolean(required=True)
    modified = fields.Boolean(required=True)
    sync_id = fields.UUID(required=True)
    app_id = fields.UUID(required=True)
    status = fields.Integer(required=True)


class HealthShape(Schema):
    """A sign of life."""

    status = fields.Integer(required=True)
    message = fields.String(required=True)


class ReadyShape(HealthShape):
    """Whether events can be taken, and what is known of the broker."""

    broker = fields.String(required=True, validate=validate.OneOf([state.value for state in BrokerState]))


class ListPageShape(Schema):
    """Where a page ends."""

    cursor = fields.String(
        required=True, allow_none=True, metadata={"description": "Of the next page; none: there is no more"}
    )
    has_more = fields.Boolean(
        required=True, metadata={"description": "There is more, or, where the search was not finished, may be"}
    )
    scanned_until = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata={"description": "There where a search stopped at its bounds: the time of the last one looked at"},
    )
    error = fields.String(
        required=True, allow_none=True, metadata={"description": "Why the query could not be tried on one of them"}
    )


@cache
def paginated(shape: type[Schema]) -> type[Schema]:
    """Describe the envelope around a page of a list."""
    name = shape.__name__.removesuffix("Shape") + "sPage"
    members = {
        "data": fields.List(fields.Nested(shape), required=True),
        "metadata": fields.Nested(MetadataShape, required=True),
        "page": fields.Nested(ListPageShape, required=True),
    }
    return Schema.from_dict(members, name=name)


@cache
def enveloped(shape: type[Schema], *, many: bool = False) -> type[Schema]:
    """Describe the envelope around one thing, or a list of them."""
    name = shape.__name__.removesuffix("Shape") + ("s" if many else "")
    data = fields.List(fields.Nested(shape), required=True) if many else fields.Nested(shape, required=True)
    return Schema.from_dict(
        {"data": data, "metadata": fields.Nested(MetadataShape, required=True)}, name=f"{name}Envelope"
    )
