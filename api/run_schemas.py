"""Shapes of runs, their steps and what they wait for, as JSON and for the OpenAPI file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields, validate

from orchestrator.api.schemas import PLAIN
from orchestrator.core.effect import StepStatus
from orchestrator.engine.rerun import FromStep
from orchestrator.errors import RequestError

#: Step names are cut there.
MAX_STEP = 1024


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
    original_run_id = fields.String(
        required=True, allow_none=True, metadata={"description": "The run that it runs again, if somebody wanted that"}
    )
    status = fields.String(
        required=True,
        validate=validate.OneOf(["Scheduled", "Running", "Completed", "Failed", "Cancelled", "Skipped"]),
    )
    ended_at = fields.AwareDateTime(required=True, allow_none=True)
    output = fields.Raw(required=True, allow_none=True)


class ListedRunShape(Schema):
    """A run as lists show it."""

    run_id = fields.String(required=True)
    status = fields.String(
        required=True,
        validate=validate.OneOf(["Scheduled", "Running", "Completed", "Failed", "Cancelled", "Skipped"]),
    )
    app = fields.String(required=True, allow_none=True, metadata={"description": "Its app's name"})
    function_id = fields.UUID(required=True)
    function = fields.String(required=True, allow_none=True, metadata={"description": "The function's slug"})
    function_name = fields.String(required=True, allow_none=True)
    function_version = fields.Integer(required=True)
    event_id = fields.String(required=True)
    event_name = fields.String(required=True)
    batch_id = fields.String(required=True, allow_none=True)
    cron = fields.String(
        required=True, allow_none=True, metadata={"description": "The line of the schedule that started it"}
    )
    invoked_by = fields.String(required=True, allow_none=True, metadata={"description": "The run that invoked it"})
    queued_at = fields.AwareDateTime(required=True)
    started_at = fields.AwareDateTime(required=True, allow_none=True)
    ended_at = fields.AwareDateTime(required=True, allow_none=True)
    output = fields.Raw(allow_none=True, metadata={"description": "There where it is asked for"})


class RunJobShape(Schema):
    """Something to be done for a run; the capitals are what tools expect."""

    JobID = fields.String(required=True)
    at = fields.AwareDateTime(required=True, metadata={"description": "When it is due"})
    position = fields.Integer(
        required=True, metadata={"description": "How many jobs are due before it, counted up to 1000"}
    )
    kind = fields.String(required=True, metadata={"description": "edge: a call; sleep; pause: the end of a wait ..."})
    attempt = fields.Integer(required=True)
    Raw = fields.Dict(required=True, metadata={"description": "id, kind, state, step_id, crashes, lease_until, error"})


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
    reruns = fields.List(
        fields.String(), required=True, metadata={"description": "The runs that run it again, the newest first"}
    )


class FromStepBody(Schema):
    """Where a rerun begins."""

    step_id = fields.String(
        required=True,
        validate=validate.Regexp(
            rf"[^\0]{{1,{MAX_STEP}}}\Z", error=f"must be the id or the name of a step, of 1 to {MAX_STEP} characters"
        ),
        error_messages={"required": "is missing: it must be the id or the name of a step"},
        metadata={
            "description": "The step's id, or its name if only one has it",
            "minLength": 1,
            "maxLength": MAX_STEP,
            "pattern": PLAIN,
        },
    )
    input = fields.List(
        fields.Raw(allow_none=True),
        allow_none=True,
        error_messages={"invalid": "must be an array of the step's arguments"},
        metadata={"description": "The step's arguments, in place of its own"},
    )


class RerunBody(Schema):
    """How a run is to be run again; nothing: from its beginning."""

    from_step = fields.Nested(FromStepBody, allow_none=True, load_default=None)


class StartedShape(Schema):
    """A run that was started."""

    run_id = fields.String(required=True)


def from_step_of(body: Mapping[str, Any]) -> FromStep | None:
    """Where a rerun is to begin, as `RerunBody` read it."""
    wanted = body.get("from_step")
    if wanted is None:
        return None
    given = wanted.get("input")
    try:
        return FromStep(wanted["step_id"], json.dumps(given) if given is not None else None)
    except RecursionError:
        raise RequestError("from_step.input is nested too deeply") from None
