"""Stored rows in the shapes of /v2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import orjson

from orchestrator.api.render import Shape, json_text, moment
from orchestrator.api.v2.answers import lean
from orchestrator.core.durations import format_duration
from orchestrator.core.effect import Status
from orchestrator.core.function import Batch, Function, Trigger
from orchestrator.core.spans import Span
from orchestrator.drivers.local import app_of
from orchestrator.protocol.function_config import read_function
from orchestrator.store import functions
from orchestrator.store.allowances import Allowance
from orchestrator.store.functions import App, StoredFunction
from orchestrator.store.search import RunRow

_MILLISECOND = timedelta(milliseconds=1)
_SCOPES = {"fn": "FUNCTION", "env": "ENVIRONMENT", "account": "ACCOUNT"}


def run_shape(run: RunRow, event_ids: Sequence[str]) -> Shape:
    """Write a run without its output."""
    began = run.started_at or run.queued_at
    return lean(
        {
            "id": run.id,
            "function": lean({"id": _id_of(run), "name": run.function_name}),
            "app": {"id": run.app_name or run.app_id or ""},
            "status": run.status.value.upper(),
            "queuedAt": moment(run.queued_at),
            "startedAt": moment(run.started_at),
            "endedAt": moment(run.ended_at),
            "durationMs": _span(began, run.ended_at),
            "trigger": lean({"eventIds": list(event_ids), "eventName": run.event_name, "cron": run.cron}),
        }
    )


def output_of(run: RunRow, outputs: Mapping[str, str | None]) -> Shape:
    """What a run came to, where it has come to something."""
    text = outputs.get(run.id)
    return {"output": json_text(text)} if text is not None and run.status is not Status.CANCELLED else {}


def span_shape(span: Span) -> Shape:
    """Write a part of a trace with the parts below it."""
    return lean(
        {
            "id": span.id,
            "name": span.name,
            "status": span.status.value,
            "stepId": span.step_id,
            "stepOp": span.op,
            "attempts": span.attempts or None,
            "queuedAt": moment(span.queued_at),
            "startedAt": moment(span.started_at),
            "endedAt": moment(span.ended_at),
            "durationMs": _span(span.started_at, span.ended_at),
            "metadata": [],
            "children": [span_shape(child) for child in span.children],
        }
    )


def app_shape(app: App, functions: int) -> Shape:
    """Write an app with the number of its functions."""
    sync = {
        "url": app.url,
        "framework": app.framework,
        "sdkLanguage": app.sdk_language,
        "sdkVersion": app.sdk_version,
        "syncedAt": moment(app.synced_at),
        "error": app.error,
    }
    told = {
        "id": app_id(app),
        "name": app.name or app.url,
        "method": "SERVE" if app_of(app.url) is None else "CONNECT",
        "functionCount": functions,
        "createdAt": moment(app.created_at),
        "latestSync": lean(sync),
    }
    return lean(told)


def app_id(app: App) -> str:
    """What an app is known by here."""
    return app.name or app.id


def function_shape(function: StoredFunction, app: App, limits: Sequence[Allowance]) -> Shape:
    """Write a function of an app."""
    declared = read_function(msgspec.json.decode(function.config), "the stored function", ours=True)
    counts = functions.limited(declared, function.imposed, function.overrides)
    function_id = within(app.name, function.slug)
    told = {
        "id": function_id,
        "name": function.name,
        "slug": function_id,
        "app": {"id": app_id(app)},
        "triggers": [_trigger(it) for it in declared.triggers],
        "configuration": _configuration(function, counts, limits),
        "pausedAt": moment(function.paused_at),
    }
    return lean(told)


def within(app_name: str | None, slug: str) -> str:
    """A function's id within its app, which is what its slug says after the app's name."""
    return slug.removeprefix(f"{app_name}-") if app_name else slug


def _id_of(run: RunRow) -> str:
    return within(run.app_name, run.function_slug) if run.function_slug is not None else run.function_id


def _span(began: datetime | None, ended: datetime | None) -> str | None:
    """Milliseconds as a text: protobuf's JSON writes 64 bits so."""
    return str(max(0, (ended - began) // _MILLISECOND)) if began is not None and ended is not None else None


def _trigger(trigger: Trigger) -> Shape:
    if trigger.cron is not None:
        return {"type": "CRON", "value": trigger.cron}
    return lean({"type": "EVENT", "value": trigger.event or "", "if": trigger.expression})


def _configuration(function: StoredFunction, it: Function, limits: Sequence[Allowance]) -> Shape:
    batch, rate, debounce, throttle, singleton = it.batch, it.rate_limit, it.debounce, it.throttle, it.singleton
    told = {
        "retries": {"value": it.retries, "isDefault": not _names_retries(function)},
        "concurrency": [_concurrency(limit) for limit in limits],
        "cancellations": [
            lean({"event": one.event, "timeout": _time(one.timeout), "if": one.expression}) for one in it.cancels
        ],
        "priority": it.priority,
        "idempotency": it.idempotency,
        "eventsBatch": batch and _batch(batch),
        "rateLimit": rate and lean({"limit": rate.limit, "period": _time(rate.period), "key": rate.key}),
        "debounce": debounce
        and lean({"period": _time(debounce.period), "timeout": _time(debounce.timeout), "key": debounce.key}),
        "throttle": throttle
        and lean(
            {"limit": throttle.limit, "burst": throttle.burst, "period": _time(throttle.period), "key": throttle.key}
        ),
        "singleton": singleton and lean({"mode": singleton.mode.upper(), "key": singleton.key}),
        "timeouts": lean({"start": _time(it.timeouts.start), "finish": _time(it.timeouts.finish)}) or None,
    }
    return lean(told)


def _batch(it: Batch) -> Shape:
    return lean({"maxSize": it.max_size, "timeout": _time(it.timeout), "key": it.key, "if": it.expression})


def _concurrency(limit: Allowance) -> Shape:
    told = {"value": limit.allowed, "isPlanLimit": False, "isOverride": limit.override is not None}
    return lean({"scope": _SCOPES[limit.scope], "key": limit.key, "limit": told})


def _time(span: timedelta | None) -> str | None:
    return format_duration(span) if span is not None else None


def _names_retries(function: StoredFunction) -> bool:
    config = orjson.loads(function.config)
    steps = config.get("steps")
    declared = [config, *(steps.values() if isinstance(steps, dict) else ())]
    return any(isinstance(it, dict) and it.get("retries") is not None for it in declared)
