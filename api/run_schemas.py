"""Shapes of runs, their steps and what they wait for, as JSON and for the OpenAPI file."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from orchestrator.core.effect import StepStatus


class RunShape(Schema):
    """A run; a failed one has its error as `output`."""

    run_id = fields.String(required=True)
    run_started_at = fields.AwareDateTime(
        required=True, metadata={"description": "When its first call began; until then, when it was queued"}
    )
    queued_at = fields.AwareDateTime(required=True)
    function_id = fields.UUID(required=True)
    function = fields.String(required=True, allow_none=True, metadata={"description": "The function's slug"})
    function_version = fields.Integer(required=True)
    environment_id = fields.UUID(required=True)
    event_id = fields.String(required=True)
    event_name = fields.String(required=True)
    batch_id = fields.String(
        required=True, allow_none=True, metadata={"description": "There where it was started with many events"}
    )
    status = fields.String(
        required=True,
        validate=validate.OneOf(["Scheduled", "Running", "Completed", "Failed", "Cancelled", "Skipped"]),
    )
    ended_at = fields.AwareDateTime(required=True, allow_none=True)
    output = fields.Raw(required=True, allow_none=True)


class StepShape(Schema):
    """A step of a run."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    op = fields.String(required=True)
    status = fields.String(
        required=True,
        validate=validate.OneOf([status.value.capitalize() for status in StepStatus]),
    )
    attempts = fields.Integer(required=True)
    started_at = fields.AwareDateTime(required=True, allow_none=True)
    ended_at = fields.AwareDateTime(required=True, allow_none=True)
    wake_at = fields.AwareDateTime(metadata={"description": "There while it sleeps"})
    output = fields.Raw(required=True, allow_none=True)
    error = fields.Raw(required=True, allow_none=True, metadata={"description": "Of its last attempt"})


class HistoryShape(Schema):
    """One line of a run's story."""

    kind = fields.String(required=True)
    step_id = fields.String(required=True, allow_none=True)
    attempt = fields.Integer(required=True, allow_none=True)
    at = fields.AwareDateTime(required=True)
    data = fields.Raw(required=True, allow_none=True)


class WaitShape(Schema):
    """One thing that a run, or an event, waits for; `details` depend on the kind."""

    kind = fields.String(
        required=True,
        metadata={
            "description": "slot, sleep, event, answer, request, task, retry, app unreachable, worker, event dated, "
            "paused, throttle, debounce, batch, call"
        },
    )
    sentence = fields.String(required=True)
    step_id = fields.String(required=True, allow_none=True)
    until = fields.AwareDateTime(required=True, allow_none=True)
    details = fields.Dict(required=True)


class RunDetailShape(RunShape):
    """A run with its steps and its story."""

    waiting = fields.String(
        required=True, allow_none=True, metadata={"description": "Why it does not go on right now, for people"}
    )
    waits = fields.List(
        fields.Nested(WaitShape), required=True, metadata={"description": "The same, one by one, for programs"}
    )
    steps = fields.List(fields.Nested(StepShape), required=True)
    history = fields.List(fields.Nested(HistoryShape), required=True)
