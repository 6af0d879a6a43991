"""Shapes of orders to do something to many runs, as JSON and for the OpenAPI file."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from orchestrator.api.run_queries import Fingerprint
from orchestrator.api.schemas import MAX_EVENTS, MAX_NAME, PLAIN, ULID_PATTERN, Few, Flag, Moment, Whole, check_name
from orchestrator.core.effect import Status
from orchestrator.engine.bulk import MOST_RATE
from orchestrator.ids import is_ulid
from orchestrator.protocol.sync_limits import MAX_EXPRESSION
from orchestrator.store.filters import TimeField
from orchestrator.store.orders import Kind

_TIMES = [f"{it.value}_at" for it in TimeField]
_STATUSES = [status.value for status in Status]
_MOST_NAMES = 100
_KIND = f"must be {' or '.join(Kind)}"
_RATE = f"must be a whole number from 1 to {MOST_RATE}"


def _check_order(value: str) -> None:
    if not is_ulid(value):
        raise ValidationError("must be the id (a ULID) of an order")


def _names(what: str) -> Any:
    name = fields.String(validate=check_name, metadata={"minLength": 1, "maxLength": MAX_NAME, "pattern": PLAIN})
    return Few(
        name,
        _MOST_NAMES,
        f"must have at most {_MOST_NAMES} entries",
        load_default=list,
        error_messages={"invalid": "must be an array"},
        metadata={"description": f"{what}; none: all"},
    )


class RunsBody(Schema):
    """Which runs are meant."""

    app = _names("Names of apps")
    function = _names("Slugs of functions")
    status = Few(
        fields.String(validate=validate.OneOf(_STATUSES, error=f"must be one of {', '.join(_STATUSES)}")),
        _MOST_NAMES,
        f"must have at most {_MOST_NAMES} entries",
        load_default=list,
        error_messages={"invalid": "must be an array"},
        metadata={
            "description": "To be cancelled: queued, running or both (none: both).  To be run again: any, but say it"
        },
    )
    time_field = fields.String(
        load_default=_TIMES[0],
        validate=validate.OneOf(_TIMES, error=f"must be one of {', '.join(_TIMES)}"),
        metadata={"description": "Which time of the run `since` and `until` are about"},
    )
    since = Moment(load_default=None, allow_none=True, metadata={"description": "That moment or later"})
    until = Moment(load_default=None, allow_none=True, metadata={"description": "Before that moment"})
    query = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(0, MAX_EXPRESSION, error=f"must have at most {MAX_EXPRESSION} characters"),
        metadata={"description": "A condition in CEL over `event` and `output`"},
    )
    failure = Fingerprint(
        load_default=None,
        allow_none=True,
        metadata={"description": "Failed runs of this kind: a `failure` of `/v1/failures`"},
    )


class BulkBody(Schema):
    """What is to be done to which runs."""

    kind = fields.String(
        required=True,
        validate=validate.OneOf(list(Kind), error=_KIND),
        error_messages={"required": f"is missing: it {_KIND}"},
    )
    filter = fields.Nested(RunsBody, load_default=lambda: RunsBody().load({}))
    rate = fields.Integer(
        strict=True,
        allow_none=True,
        load_default=None,
        validate=validate.Range(1, MOST_RATE, error=_RATE),
        error_messages={"invalid": _RATE},
        metadata={"description": "So many runs a second at most"},
    )
    dry_run = Flag(load_default=False, metadata={"description": "Only count the runs"})


class BulkQuery(Schema):
    """Which orders are wanted."""

    limit = Whole(1, MAX_EVENTS, load_default=20, metadata={"description": "At most so many"})
    cursor = fields.String(
        validate=_check_order,
        metadata={
            "description": "Only orders before this one: the id of the last order of the page before",
            "pattern": ULID_PATTERN,
        },
    )


class MeantShape(Schema):
    """The filter of an order, as it was understood."""

    function_ids = fields.List(fields.String(), required=True)
    app_ids = fields.List(fields.String(), required=True)
    status = fields.List(fields.String(), required=True)
    time_field = fields.String(required=True)
    since = fields.AwareDateTime(required=True, allow_none=True)
    until = fields.AwareDateTime(required=True, allow_none=True)
    query = fields.String(required=True, allow_none=True)
    failure = fields.String(required=True, allow_none=True)


class BulkShape(Schema):
    """An order, and how far it got; for a dry run only how many runs are meant."""

    id = fields.String(allow_none=True, metadata={"description": "Null for a dry run"}, required=True)
    kind = fields.String(required=True, validate=validate.OneOf(list(Kind)))
    status = fields.String(
        required=True, validate=validate.OneOf(["Counted", "Running", "Completed", "Stopped", "Failed"])
    )
    filter = fields.Nested(MeantShape, required=True)
    total = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Runs that were meant when it was given; null: too many to count"},
    )
    at_least = fields.Integer(metadata={"description": "There for a dry run that could not count all of them"})
    done = fields.Integer(required=True, metadata={"description": "Runs cancelled, or run again, so far"})
    failed = fields.Integer(required=True, metadata={"description": "Runs to which it could not be done"})
    rate = fields.Integer(required=True, allow_none=True)
    actor = fields.String(required=True, allow_none=True)
    error = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The last reason why it could not be done to a run, or the query not be tried on one"},
    )
    created_at = fields.AwareDateTime(required=True)
    ended_at = fields.AwareDateTime(required=True, allow_none=True)
