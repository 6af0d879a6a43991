"""Functions: how they look, and what may be set of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from orchestrator.api.schemas import Flag
from orchestrator.engine.limit import MOST as MOST_CALLS


class ConcurrencyShape(Schema):
    """A limit on a function's calls at once; `limit` is what counts, `declared` what its app says."""

    key = fields.String(required=True, allow_none=True)
    scope = fields.String(required=True, validate=validate.OneOf(["fn", "env", "account"]))
    whole_run = fields.Boolean(required=True)
    limit = fields.Integer(required=True)
    declared = fields.Integer(required=True, allow_none=True)


class StartsShape(Schema):
    """So many starts within a period."""

    error_messages = {"type": "must be an object with a limit and a period"}  # noqa: RUF012  # as marshmallow has it

    limit = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(1, MOST_CALLS, error=f"must be a whole number from 1 to {MOST_CALLS}"),
        error_messages={"invalid": f"must be a whole number from 1 to {MOST_CALLS}"},
    )
    period = fields.String(
        required=True, metadata={"description": 'A duration from 1s to 31 days, such as "90s" or "1h30m"'}
    )


class FunctionBody(Schema):
    """What an operator may set of a function."""

    wait_look_back = Flag(
        metadata={"description": "Waits also take events that came between the run's start and the wait"}
    )
    concurrency = fields.Integer(
        strict=True,
        allow_none=True,
        validate=validate.Range(1, MOST_CALLS, error=f"must be a whole number from 1 to {MOST_CALLS}, or null"),
        error_messages={"invalid": f"must be a whole number from 1 to {MOST_CALLS}, or null"},
        metadata={"description": "Calls at once, in place of what the app declares; null: what it declares"},
    )
    concurrency_key = fields.String(
        metadata={"description": "The key of the limit that is meant, where there are several; empty: the one without"}
    )

    throttle = fields.Nested(
        StartsShape,
        allow_none=True,
        metadata={"description": "In place of what the app declares, whose key and burst stay; null: what it declares"},
    )
    rate_limit = fields.Nested(
        StartsShape,
        allow_none=True,
        metadata={"description": "In place of what the app declares, whose key stays; null: what it declares"},
    )

    @validates_schema
    def _says_something(self, data: Mapping[str, Any], **_: Any) -> None:
        if not {"wait_look_back", "concurrency", "throttle", "rate_limit"} & data.keys():
            raise ValidationError("is missing, and so are concurrency, throttle and rate_limit", "wait_look_back")


class FunctionShape(Schema):
    """A function; `config` is what its app sent."""

    internal_id = fields.UUID(required=True)
    env_id = fields.UUID(required=True)
    app_id = fields.UUID(required=True)
    id = fields.String(required=True, metadata={"description": "Its slug"})
    name = fields.String(required=True)
    version = fields.Integer(required=True)
    config = fields.Raw(required=True)
    created_at = fields.AwareDateTime(required=True)
    archived_at = fields.AwareDateTime(required=True, allow_none=True)
    paused_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "Since when it starts no runs"}
    )
    wait_look_back = fields.Boolean(required=True)
    concurrency = fields.List(fields.Nested(ConcurrencyShape), required=True)
    throttle = fields.Nested(
        StartsShape,
        required=True,
        allow_none=True,
        metadata={"description": "What an operator wants in place of what the app declares; null: nothing"},
    )
    rate_limit = fields.Nested(StartsShape, required=True, allow_none=True, metadata={"description": "The same"})
