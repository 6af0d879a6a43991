"""Stored rows in the shapes of the REST API.

Payloads, outputs and memos are JSON texts and go into the answer as they are: reading and writing them anew would cost
time and change numbers beyond 2^53.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import orjson
from orjson import Fragment

from orchestrator.core.durations import format_duration
from orchestrator.core.effect import Status, StepStatus
from orchestrator.core.override import Starts
from orchestrator.core.waiting import Reason, sentence
from orchestrator.store import overrides
from orchestrator.store.allowances import Allowance
from orchestrator.store.dead import DeadJob
from orchestrator.store.events import StoredEvent
from orchestrator.store.filters import Count, RunFilter
from orchestrator.store.functions import App, StoredFunction
from orchestrator.store.history import Entry
from orchestrator.store.jobs import CALL, TASK, TIME_OUT, WAKE
from orchestrator.store.orders import Cancelled, Kind, Order
from orchestrator.store.run_jobs import RunJob
from orchestrator.store.runs import StoredRun
from orchestrator.store.search import RunRow
from orchestrator.store.steps import StoredStep
from orchestrator.store.tokens import Token

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
#: The words that tools know for what jobs are for.
_JOB_KINDS = {CALL: "edge", TASK: "edge", WAKE: "sleep", TIME_OUT: "pause"}
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
        "original_run_id": run.original_run_id,
        "status": _RUN_STATUS[run.status],
        "ended_at": moment(run.ended_at),
        "output": _run_output(run),
    }


def listed_run_shape(row: RunRow, outputs: Mapping[str, str | None] | None) -> Shape:
    """Write a run as lists show it, with its output where outputs are given."""
    shape: Shape = {
        "run_id": row.id,
        "status": _RUN_STATUS[row.status],
        "app": row.app_name,
        "function_id": row.function_id,
        "function": row.function_slug,
        "function_name": row.function_name,
        "function_version": row.function_version,
        "event_id": row.event_id,
        "event_name": row.event_name,
        "batch_id": row.batch_id,
        "cron": row.cron,
        "invoked_by": row.invoked_by[0] if row.invoked_by is not None else None,
        "queued_at": moment(row.queued_at),
        "started_at": moment(row.started_at),
        "ended_at": moment(row.ended_at),
    }
    if outputs is not None:
        # It may have ended since its row was read.
        shape["output"] = json_text(outputs.get(row.id)) if row.status.final else None
    return shape


def run_job_shape(job: RunJob) -> Shape:
    """Write something that is to be done for a run; what it carries stays inside."""
    return {
        "JobID": str(job.id),
        "at": moment(job.run_at),
        "position": job.position,
        "kind": _JOB_KINDS.get(job.kind, job.kind),
        "attempt": job.attempt,
        "Raw": {
            "id": job.id,
            "kind": job.kind,
            "state": job.state,
            "step_id": job.step_id,
            "crashes": job.crashes,
            "lease_until": moment(job.lease_until),
            "error": job.error,
        },
    }


def run_detail(
    run: StoredRun,
    slug: str | None,
    steps: Sequence[StoredStep],
    story: Sequence[Entry],
    reasons: Sequence[Reason],
    reruns: Sequence[str] = (),
) -> Shape:
    """Write a run with its steps, its story, what it waits for, and the runs that run it again."""
    return run_shape(run, slug) | {
        "waiting": sentence(reasons),
        "waits": [reason_shape(reason) for reason in reasons],
        "steps": [step_shape(step) for step in steps],
        "history": [_entry_shape(entry) for entry in story],
        "reruns": list(reruns),
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


def cancellation_shape(order: Order, asked: Cancelled, app: App | None, function: StoredFunction | None) -> Shape:
    """Write an order to cancel many runs that came through `/v1/cancellations`."""
    shape: Shape = {
        "id": order.id,
        "environment_id": ENVIRONMENT_ID,
        "app": app.name if app is not None else None,
        "function_id": asked.function_id,
        "function": function.slug if function is not None else None,
        "started_after": moment(asked.after),
        "started_before": moment(asked.before),
        "kind": "bulk_run",
        "type": "manual",
        "status": _order_status(order),
        "cancelled": order.done,
        "error": order.error,
        "created_at": moment(order.created_at),
        "ended_at": moment(order.ended_at),
    }
    return shape | {"if": asked.expression} if asked.expression is not None else shape


def order_shape(order: Order) -> Shape:
    """Write an order to do something to many runs, and how far it got."""
    return {
        "id": order.id,
        "kind": order.kind.value,
        "status": _order_status(order),
        "filter": _meant_shape(order.wanted),
        "total": order.total,
        "done": order.done,
        "failed": order.failed,
        "rate": order.rate,
        "actor": order.actor,
        "error": order.error,
        "created_at": moment(order.created_at),
        "ended_at": moment(order.ended_at),
    }


def counted_shape(kind: Kind, wanted: RunFilter, count: Count, now: datetime) -> Shape:
    """Write how many runs an order would be about."""
    shape: Shape = {
        "id": None,
        "kind": kind.value,
        "status": "Counted",
        "filter": _meant_shape(wanted),
        "total": count.number if count.exact else None,
        "done": 0,
        "failed": 0,
        "rate": None,
        "actor": None,
        "error": None,
        "created_at": moment(now),
        "ended_at": None,
    }
    return shape if count.exact else shape | {"at_least": count.number}


def _meant_shape(wanted: RunFilter) -> Shape:
    return {
        "function_ids": list(wanted.function_ids),
        "app_ids": list(wanted.app_ids),
        "status": [status.value for status in wanted.statuses],
        "time_field": f"{wanted.time_field.value}_at",
        "since": moment(wanted.since),
        "until": moment(wanted.until),
        "query": wanted.query,
        "failure": wanted.failure,
    }


def _order_status(order: Order) -> str:
    if order.stopped_at is not None:
        return "Stopped"
    return "Completed" if order.ended_at is not None else "Failed" if order.dead else "Running"


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
    wanted = overrides.read(function.overrides)
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
        "throttle": _starts(wanted.throttle),
        "rate_limit": _starts(wanted.rate_limit),
    }


def _starts(starts: Starts | None) -> Shape | None:
    return {"limit": starts.limit, "period": format_duration(starts.period)} if starts is not None else None


def token_shape(token: Token) -> Shape:
    """Write a token without its secret."""
    return {
        "id": token.id,
        "name": token.name,
        "hint": token.hint,
        "scopes": sorted(token.scopes),
        "created_at": moment(token.created_at),
        "last_used_at": moment(token.last_used_at),
        "revoked_at": moment(token.revoked_at),
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
