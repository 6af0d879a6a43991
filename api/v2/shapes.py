"""Shapes of /v2, for the OpenAPI document: names in camelCase, large numbers as texts, no nulls."""

from __future__ import annotations

from functools import cache
from typing import Any

from marshmallow import Schema, fields, validate

from orchestrator.core.effect import Status
from orchestrator.core.spans import SpanStatus
from orchestrator.protocol.sync_limits import MAX_URL

#: As they are written here.
STATUSES = {status.value.upper(): status for status in Status}


class OneErrorShape(Schema):
    """An error: a code for programs and a sentence for people."""

    code = fields.String(required=True)
    message = fields.String(required=True)


class ErrorsShape(Schema):
    """Why a request was refused."""

    errors = fields.List(fields.Nested(OneErrorShape), required=True, validate=validate.Length(min=1))


class FetchedShape(Schema):
    """When the data were read."""

    fetched_at = fields.AwareDateTime(required=True, data_key="fetchedAt")
    cached_until = fields.AwareDateTime(required=True, allow_none=True, data_key="cachedUntil")


class PageOfV2Shape(Schema):
    """Where a list goes on."""

    has_more = fields.Boolean(required=True, data_key="hasMore")
    limit = fields.Integer(required=True)
    cursor = fields.String(metadata={"description": "There where there is more: give it as `cursor`"})
    scanned_until = fields.AwareDateTime(
        data_key="scannedUntil", metadata={"description": "A search by condition stopped here; its cursor goes on"}
    )
    query_error = fields.String(
        data_key="queryError", metadata={"description": "Why the condition could not be tried on some row"}
    )


class NamedShape(Schema):
    """A thing by its id."""

    id = fields.String(required=True)
    name = fields.String()


class TriggerOfRunShape(Schema):
    """What started a run."""

    event_ids = fields.List(fields.String(), required=True, data_key="eventIds")
    event_name = fields.String(required=True, data_key="eventName")
    cron = fields.String()


class RunV2Shape(Schema):
    """A run; `output` of a failed one is its error."""

    id = fields.String(required=True)
    function = fields.Nested(NamedShape, required=True)
    app = fields.Nested(NamedShape, required=True)
    status = fields.String(required=True, validate=validate.OneOf(list(STATUSES)))
    queued_at = fields.AwareDateTime(required=True, data_key="queuedAt")
    started_at = fields.AwareDateTime(data_key="startedAt")
    ended_at = fields.AwareDateTime(data_key="endedAt")
    duration_ms = fields.String(data_key="durationMs", metadata={"description": "Of its execution, as a text"})
    trigger = fields.Nested(TriggerOfRunShape, required=True)
    output = fields.Raw(allow_none=True)


class SpanShape(Schema):
    """A part of a trace."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf([status.value for status in SpanStatus]))
    step_id = fields.String(data_key="stepId")
    step_op = fields.String(data_key="stepOp")
    attempts = fields.Integer()
    queued_at = fields.AwareDateTime(required=True, data_key="queuedAt")
    started_at = fields.AwareDateTime(data_key="startedAt")
    ended_at = fields.AwareDateTime(data_key="endedAt")
    duration_ms = fields.String(data_key="durationMs")
    metadata = fields.List(fields.Dict(), required=True)
    children = fields.List(fields.Nested(lambda: SpanShape()), required=True)


class TraceShape(Schema):
    """A run as a tree of spans."""

    root_span = fields.Nested(SpanShape, required=True, data_key="rootSpan")
    truncated = fields.Boolean(required=True, metadata={"description": "It has more steps than are shown"})


class RunIdShape(Schema):
    """A run that was ordered."""

    run_id = fields.String(required=True, data_key="runId")


class EventIdShape(Schema):
    """An event that is stored."""

    event_id = fields.String(required=True, data_key="eventId")


class LatestSyncShape(Schema):
    """How an app was synced the last time."""

    url = fields.String(required=True)
    framework = fields.String()
    sdk_language = fields.String(data_key="sdkLanguage")
    sdk_version = fields.String(data_key="sdkVersion")
    synced_at = fields.AwareDateTime(data_key="syncedAt")
    error = fields.String(metadata={"description": "Why it did not work"})


class AppV2Shape(Schema):
    """An app."""

    id = fields.String(required=True, metadata={"description": "Its name; of one that told none yet, its UUID"})
    name = fields.String(required=True)
    method = fields.String(required=True, validate=validate.OneOf(["SERVE", "CONNECT"]))
    function_count = fields.Integer(required=True, data_key="functionCount")
    created_at = fields.AwareDateTime(data_key="createdAt")
    latest_sync = fields.Nested(LatestSyncShape, required=True, data_key="latestSync")


class SyncBody(Schema):
    """Where the app is."""

    url = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, MAX_URL, error=f"must have 1 to {MAX_URL} characters"),
        metadata={"description": "The app's URL; without it: the one that is known"},
    )


class SyncShape(Schema):
    """What asking an app for its functions came to."""

    id = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(["success", "error", "duplicate"]))
    app_id = fields.String(data_key="appId")
    error = fields.String()


class TriggerV2Shape(Schema):
    """What starts a function."""

    type = fields.String(required=True, validate=validate.OneOf(["EVENT", "CRON"]))
    value = fields.String(required=True)
    condition = fields.String(data_key="if")


class FunctionV2Shape(Schema):
    """A function; its id is that within its app."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    slug = fields.String(required=True)
    app = fields.Nested(NamedShape, required=True)
    triggers = fields.List(fields.Nested(TriggerV2Shape), required=True)
    configuration = fields.Dict(required=True)
    paused_at = fields.AwareDateTime(data_key="pausedAt", metadata={"description": "Since when it starts no runs"})


class HealthV2Shape(Schema):
    """A sign of life."""

    status = fields.String(required=True, validate=validate.OneOf(["ok"]))


class AccountShape(Schema):
    """The one account there is."""

    id = fields.UUID(required=True)
    name = fields.String(required=True)
    email = fields.String(required=True)


class EnvShape(Schema):
    """The one environment there is."""

    id = fields.UUID(required=True)
    name = fields.String(required=True)
    type = fields.String(required=True, validate=validate.OneOf(["TEST", "PRODUCTION"]))


class KeyShape(Schema):
    """A key, as far as it is shown."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    environment = fields.String(required=True)
    key = fields.String(required=True, metadata={"description": "Its beginning: keys are not shown"})
    created_at = fields.AwareDateTime(data_key="createdAt")


@cache
def one_of(shape: type[Schema]) -> type[Schema]:
    """Describe the envelope around one thing."""
    members: dict[str, fields.Field[Any]] = {"data": fields.Nested(shape, required=True)}
    members |= {"metadata": fields.Nested(FetchedShape, required=True)}
    return Schema.from_dict(members, name=f"{_name(shape)}Answer")


@cache
def page_of(shape: type[Schema]) -> type[Schema]:
    """Describe the envelope around a page of a list."""
    members = {
        "data": fields.List(fields.Nested(shape), required=True),
        "metadata": fields.Nested(FetchedShape, required=True),
        "page": fields.Nested(PageOfV2Shape, required=True),
    }
    return Schema.from_dict(members, name=f"{_name(shape)}PageAnswer")


def _name(shape: type[Schema]) -> str:
    return shape.__name__.removesuffix("Shape").removesuffix("V2") + "V2"
