"""Shapes of what was counted, and of failures that are alike, as JSON and for the OpenAPI file."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from orchestrator.api.schemas import Moment, Whole
from orchestrator.engine.failures import MOST
from orchestrator.engine.overview import LOOKS

_SPAN = fields.String(
    load_default="24h",
    validate=validate.OneOf(list(LOOKS), error="must be one of {choices}"),
    metadata={"description": "How far back"},
)


class StatsQuery(Schema):
    """Which span of time is looked at."""

    span = _SPAN


class FailuresQuery(Schema):
    """Which failures are wanted, by when they ended."""

    span = _SPAN
    since = Moment(metadata={"description": "That moment or later, in place of `span`"})
    limit = Whole(1, MOST, load_default=20, metadata={"description": "At most so many groups"})


class LengthShape(Schema):
    """Seconds that half of the runs took at most, and 95 % of them; null: there were none."""

    median = fields.Float(required=True, allow_none=True)
    p95 = fields.Float(required=True, allow_none=True)


class PartShape(Schema):
    """What happened in a part of the time."""

    at = fields.AwareDateTime(required=True, metadata={"description": "When it began"})
    queued = fields.Integer(required=True, metadata={"description": "Runs that came to be"})
    started = fields.Integer(required=True, metadata={"description": "Runs whose first call began"})
    ended = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata={"description": "Runs that ended, by status"},
    )
    failure_rate = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "Share of failed ones among those that ended and were not skipped; null: none ended"},
    )
    queue_seconds = fields.Nested(LengthShape, required=True, metadata={"description": "From queued to started"})
    run_seconds = fields.Nested(LengthShape, required=True, metadata={"description": "From started to ended"})


class FunctionStatsShape(Schema):
    """What happened to one function's runs in all of the time."""

    id = fields.String(required=True)
    slug = fields.String(required=True, allow_none=True, metadata={"description": "Null: the function is gone"})
    queued = fields.Integer(required=True)
    ended = fields.Integer(required=True, metadata={"description": "Skipped ones left aside"})
    failed = fields.Integer(required=True)


class StatsShape(Schema):
    """How many runs there were when, how they ended, and how long they took."""

    since = fields.AwareDateTime(required=True)
    until = fields.AwareDateTime(required=True)
    step_seconds = fields.Integer(required=True, metadata={"description": "How long each part is"})
    counted_until = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata={"description": "There where counting is behind: what came later is not in the numbers"},
    )
    per_minute = fields.Float(required=True, metadata={"description": "Runs that ended in a minute, on average"})
    total = fields.Nested(PartShape, required=True)
    parts = fields.List(fields.Nested(PartShape), required=True)
    functions = fields.List(fields.Nested(FunctionStatsShape), required=True)


class ErrorTextShape(Schema):
    """An error as people read it."""

    name = fields.String(required=True)
    message = fields.String(required=True)
    stack = fields.String(required=True)


class FailureShape(Schema):
    """Failures of one function that are alike: the same name, and the same message but for numbers, ids and quotes."""

    failure = fields.String(required=True, metadata={"description": "For `failure` of `/v1/runs` and `/v1/bulk`"})
    function_id = fields.String(required=True)
    function = fields.String(required=True, allow_none=True, metadata={"description": "Its slug; null: it is gone"})
    message = fields.String(required=True, metadata={"description": "What their messages have in common"})
    runs = fields.Integer(required=True, metadata={"description": "How many failed so"})
    first_at = fields.AwareDateTime(required=True)
    last_at = fields.AwareDateTime(required=True)
    example_run_id = fields.String(required=True, allow_none=True, metadata={"description": "The latest of them"})
    example = fields.Nested(ErrorTextShape, required=True)


class FailuresShape(Schema):
    """What failed, the most frequent first."""

    since = fields.AwareDateTime(required=True)
    until = fields.AwareDateTime(required=True)
    runs = fields.Integer(required=True, metadata={"description": "Failures that were looked at"})
    groups = fields.Integer(required=True, metadata={"description": "Groups that they make, listed or not"})
    exact = fields.Boolean(required=True, metadata={"description": "False: only the latest failures were looked at"})
    failures = fields.List(fields.Nested(FailureShape), required=True)
