"""Apps and their functions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson
from ariadne import ObjectType

from orchestrator.api.graphql.context import ON_FAILURE, Context
from orchestrator.api.graphql.fields import Info, object_type
from orchestrator.core.durations import format_duration
from orchestrator.core.function import Function, Trigger
from orchestrator.drivers.local import app_of
from orchestrator.protocol.checkpoint import sends_checkpoints
from orchestrator.protocol.function_config import read_function
from orchestrator.store import functions
from orchestrator.store.functions import App, StoredFunction

_SCOPES = {"fn": "FUNCTION", "env": "ENVIRONMENT", "account": "ACCOUNT"}

Shape = dict[str, object]

query = ObjectType("Query")


@query.field("apps")
def _list_apps(_root: object, info: Info, filter: dict[str, str] | None = None) -> Sequence[App]:
    asked = info.context
    with asked.parts.database.read() as conn:
        found = functions.all_apps(conn)
    method = (filter or {}).get("method")
    found = [app for app in found if method in (None, _method(app))]
    asked.functions_of_app.expect(app.id for app in found)
    return asked.items(found)


@query.field("app")
def _app(_root: object, info: Info, id: str) -> App | None:
    return info.context.apps.get(id)


@query.field("functions")
def _list_functions(_root: object, info: Info) -> Sequence[StoredFunction]:
    asked = info.context
    with asked.parts.database.read() as conn:
        found = functions.functions_of(conn)
    asked.know_functions(found)
    return asked.items(found)


@query.field("functionBySlug")
def _function_by_slug(_root: object, info: Info, query: dict[str, str]) -> StoredFunction | None:
    return info.context.functions_by_slug.get(query["functionSlug"])


def _functions_of_app(app: App, asked: Context) -> Sequence[StoredFunction]:
    found = asked.functions_of_app.get(app.id) or []
    asked.know_functions(found)
    return asked.items(found)


def _method(app: App) -> str:
    return "SERVE" if app_of(app.url) is None else "CONNECT"


app_type = object_type(
    "App",
    {
        "id": lambda app, _: app.id,
        "externalID": lambda app, _: app.name or app.url,
        "name": lambda app, _: app.name or app.url,
        "sdkLanguage": lambda app, _: app.sdk_language or "",
        "sdkVersion": lambda app, _: app.sdk_version or "",
        "framework": lambda app, _: app.framework,
        "url": lambda app, _: app.url,
        "checksum": lambda app, _: app.checksum,
        "error": lambda app, _: app.error,
        "functions": _functions_of_app,
        "method": lambda app, _: _method(app),
        "appVersion": lambda app, _: app.version,
        "sdkFeatureReadiness": lambda app, _: {"checkpointing": sends_checkpoints(app.sdk_language, app.sdk_version)},
        "connected": lambda app, _: app.synced_at is not None and app.error is None,
        "functionCount": lambda app, asked: len(asked.functions_of_app.get(app.id) or ()),
        "autodiscovered": lambda _app, _: False,
    },
)


def _declared(function: StoredFunction, asked: Context) -> Function:
    """The function as its app declared it, with the limits that an operator set, read once in an operation."""
    if function.id not in asked.declared:
        config = msgspec.json.decode(function.config)
        declared = read_function(config, "the stored function", ours=True)
        asked.declared[function.id] = functions.limited(declared, function.imposed, function.overrides)
    return asked.declared[function.id]


def _failure_handler(function: StoredFunction, asked: Context) -> StoredFunction | None:
    found = asked.functions_by_slug.get(function.slug + ON_FAILURE)
    return found if found is not None and found.app_id == function.app_id else None


def _lowest_limit(function: StoredFunction, asked: Context) -> int:
    return min((it.allowed for it in asked.limits.get(function.id) or ()), default=0)


def _triggers(function: StoredFunction, asked: Context) -> list[Shape]:
    return [_trigger(it) for it in _declared(function, asked).triggers]


def _trigger(trigger: Trigger) -> Shape:
    if trigger.cron is not None:
        return {"type": "CRON", "value": trigger.cron, "condition": None}
    return {"type": "EVENT", "value": trigger.event or "", "condition": trigger.expression}


def _configuration(function: StoredFunction, asked: Context) -> Shape:
    declared = _declared(function, asked)
    return {
        "cancellations": [
            {
                "event": it.event,
                "timeout": format_duration(it.timeout) if it.timeout is not None else None,
                "condition": it.expression,
            }
            for it in declared.cancels
        ],
        "retries": {"value": declared.retries, "isDefault": not _names_retries(function)},
        "priority": declared.priority,
        "concurrency": _concurrency(function, asked),
        **_flow_control(declared),
    }


def _names_retries(function: StoredFunction) -> bool:
    config = orjson.loads(function.config)
    steps = config.get("steps")
    declared = [config, *(steps.values() if isinstance(steps, dict) else ())]
    return any(isinstance(it, dict) and it.get("retries") is not None for it in declared)


def _concurrency(function: StoredFunction, asked: Context) -> list[Shape]:
    return [
        {
            "scope": _SCOPES[it.scope],
            "limit": {
                "value": it.allowed,
                "isPlanLimit": it.override is not None or function.imposed is not None,
            },
            "key": it.key,
        }
        for it in asked.limits.get(function.id) or ()
    ]


def _flow_control(it: Function) -> Shape:
    batch, rate, debounce, throttle, singleton = it.batch, it.rate_limit, it.debounce, it.throttle, it.singleton
    return {
        "eventsBatch": batch
        and {"maxSize": batch.max_size, "timeout": format_duration(batch.timeout), "key": batch.key},
        "rateLimit": rate and {"limit": rate.limit, "period": format_duration(rate.period), "key": rate.key},
        "debounce": debounce and {"period": format_duration(debounce.period), "key": debounce.key},
        "throttle": throttle
        and {
            "burst": throttle.burst,
            "key": throttle.key,
            "limit": throttle.limit,
            "period": format_duration(throttle.period),
        },
        "singleton": singleton and {"mode": singleton.mode.upper(), "key": singleton.key},
    }


function_type = object_type(
    "Function",
    {
        "id": lambda function, _: function.id,
        "name": lambda function, _: function.name,
        "slug": lambda function, _: function.slug,
        "failureHandler": _failure_handler,
        "config": lambda function, _: function.config,
        "configuration": _configuration,
        "concurrency": _lowest_limit,
        "triggers": _triggers,
        "url": lambda function, asked: _declared(function, asked).url,
        "appID": lambda function, _: function.app_id,
        "app": lambda function, asked: asked.apps.get(function.app_id),
    },
)
