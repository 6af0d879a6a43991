"""Stored rows in the shapes of the REST API.

Payloads, outputs and memos are JSON texts and go into the answer as they are: reading and writing them anew would cost
time and change numbers beyond 2^53.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
from orjson import Fragment

from orchestrator.core.effect import Status, StepStatus
from orchestrator.core.waiting import Reason, sentence
from orchestrator.store.allowances import Allowance
from orchestrator.store.cancellations import Cancellation
from orchestrator.store.dead import DeadJob
from orchestrator.store.events import StoredEvent
from orchestrator.store.functions import App, StoredFunction
from orchestrator.store.history import Entry
from orchestrator.store.runs import StoredRun
from orchestrator.store.steps import StoredStep

#: There is one account and one environment; tools expect ids for them.
ACCOUNT_ID = "00000000-0000-4000-a000-000000000000"
ENVIRONMENT_ID = "00000000-0000-4000-b000-000000000000"

#: The wire knows no "Queued": a run that has not begun is scheduled, for now or for later.
_RUN_STATUS = {
    Status.QUEUED: "Scheduled",
    Status.RUNNING: "Running",
    Status.COMPLETED: "Completed",
    Status.FAILED: "Failed",
    Status.CANCELLED: "Cancelled",
    Status.SKIPPED: "Skipped",
}
#: The memo of this op is the event itself, not an object with `data` or `error` around the outcome.
_BARE_MEMO = "WaitForEvent"
_DATA = '{"data":'

Shape = dict[str, object]


def moment(at: datetime | None) -> str | None:
    """Write a moment as RFC 3339 in UTC, to the millisecond."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def json_text(text: str | None) -> Fragment | None:
    """Let a stored JSON text stand in the answer as it is."""
    return Fragment(text) if text is not None else None


def event_shape(event: StoredEvent) -> Fragment:
    """Write an event: what the server knows of it, then the payload as the functions receive it."""
    known: Shape = {
        "internal_id": event.id,
        "account_id": ACCOUNT_ID,
        "environment_id": ENVIRONMENT_ID,
        "source": "",
        "source_id": None,
        "received_at": moment(event.received_at),
    }
    if event.warning is not None:
        known["warning"] = event.warning
    # The payload is an object with at least a name in it, so that a comma and its members can follow.
    return Fragment(orjson.dumps(known)[:-1] + b"," + event.payload.encode()[1:])


def run_shape(run: StoredRun, slug: str | None) -> Shape:
    """Write a run; `slug` is its function's."""
    return {
        "run_id": run.id,
        "run_started_at": moment(run.started_at or run.queued_at),
        "queued_at": moment(run.queued_at),
        "function_id": run.function_id,
        "function": slug,
        "function_version": run.function_version,
        "environment_id": ENVIRONMENT_ID,
        "event_id": run.event_id,
        "event_name": run.event_name,
        "batch_id": run.batch_id,
        "status": _RUN_STATUS[run.status],
        "ended_at": moment(run.ended_at),
        "output": _run_output(run),
    }


def run_detail(
    run: StoredRun, slug: str | None, steps: Sequence[StoredStep], story: Sequence[Entry], reasons: Sequence[Reason]
) -> Shape:
    """Write a run with its steps, its story, and what it waits for."""
    return run_shape(run, slug) | {
        "waiting": sentence(reasons),
        "waits": [reason_shape(reason) for reason in reasons],
        "steps": [step_shape(step) for step in steps],
        "history": [_entry_shape(entry) for entry in story],
    }


def reason_shape(reason: Reason) -> Shape:
    """Write one thing that is waited for."""
    return {
        "kind": reason.kind,
        "sentence": reason.sentence,
        "step_id": reason.step_id,
        "until": moment(reason.until),
        "details": reason.details,
    }


def step_shape(step: StoredStep) -> Shape:
    """Write a step; `wake_at` is there while it sleeps."""
    shape: Shape = {
        "id": step.id,
        "name": step.name,
        "op": step.op,
        "status": step.status.value.capitalize(),
        "attempts": step.attempts,
        "started_at": moment(step.started_at),
        "ended_at": moment(step.ended_at),
        "output": _step_output(step),
        "error": json_text(step.error),
    }
    if step.status is StepStatus.SLEEPING:
        shape["wake_at"] = moment(step.wake_at)
    return shape


def cancellation_shape(order: Cancellation, app: App | None, function: StoredFunction | None) -> Shape:
    """Write an order to cancel many runs."""
    shape: Shape = {
        "id": order.id,
        "environment_id": ENVIRONMENT_ID,
        "app": app.name if app is not None else None,
        "function_id": order.function_id,
        "function": function.slug if function is not None else None,
        "started_after": moment(order.started_after),
        "started_before": moment(order.started_before),
        "kind": "bulk_run",
        "type": "manual",
        "status": "Completed" if order.ended_at is not None else "Failed" if order.dead else "Running",
        "cancelled": order.cancelled,
        "error": order.error,
        "created_at": moment(order.created_at),
        "ended_at": moment(order.ended_at),
    }
    return shape | {"if": order.expression} if order.expression is not None else shape


def dead_job_shape(job: DeadJob) -> Shape:
    """Write a dead job; its payload may hold what is not for everybody's eyes, and stays inside."""
    return {
        "id": job.id,
        "kind": job.kind,
        "state": "dead",
        "run_id": job.run_id,
        "function": job.function,
        "step_id": job.step_id,
        "event_ids": list(job.event_ids),
        "crashes": job.crashes,
        "error": job.error,
        "run_at": moment(job.run_at),
    }


def app_shape(app: App, functions: int) -> Shape:
    """Write an app with the number of its functions."""
    return {
        "id": app.id,
        "name": app.name,
        "url": app.url,
        "sdk_language": app.sdk_language,
        "sdk_version": app.sdk_version,
        "framework": app.framework,
        "app_version": app.version,
        "function_count": functions,
        "synced_at": moment(app.synced_at),
        "error": app.error,
        "error_code": app.error_code,
    }


def function_shape(function: StoredFunction, limits: Sequence[Allowance]) -> Shape:
    """Write a function; `config` is what its app sent, `limits` are what counts of its concurrency."""
    return {
        "internal_id": function.id,
        "env_id": ENVIRONMENT_ID,
        "app_id": function.app_id,
        "id": function.slug,
        "name": function.name,
        "version": function.version,
        "config": json_text(function.config),
        "created_at": moment(function.created_at),
        "archived_at": moment(function.archived_at),
        "paused_at": moment(function.paused_at),
        "wait_look_back": function.wait_look_back,
        "concurrency": [
            {
                "key": limit.key,
                "scope": limit.scope,
                "whole_run": limit.whole_run,
                "limit": limit.allowed,
                "declared": limit.declared if function.imposed is None else None,
            }
            for limit in limits
        ],
    }


def _run_output(run: StoredRun) -> Fragment | Shape | None:
    if run.status is Status.CANCELLED:
        return {}
    return json_text(run.error if run.status is Status.FAILED else run.output)


def _step_output(step: StoredStep) -> Fragment | None:
    if step.memo is None or step.status is not StepStatus.COMPLETED:
        return None
    if step.op != _BARE_MEMO and step.memo.startswith(_DATA):
        return Fragment(step.memo[len(_DATA) : -1])
    return Fragment(step.memo)


def _entry_shape(entry: Entry) -> Shape:
    return {
        "kind": entry.kind,
        "step_id": entry.step_id,
        "attempt": entry.attempt,
        "at": moment(entry.at),
        "data": json_text(entry.data),
    }
