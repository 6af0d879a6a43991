"""What changes something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ariadne import MutationType

from orchestrator.api.graphql.debug import refuse_session
from orchestrator.api.graphql.fields import Info
from orchestrator.api.graphql.payloads import json_object
from orchestrator.api.graphql.runs import known_run
from orchestrator.core.scope import Scope
from orchestrator.engine.adopt import adopt, move
from orchestrator.engine.cancel import cancel
from orchestrator.engine.invoke import invoke
from orchestrator.engine.register import retire
from orchestrator.engine.rerun import FromStep, rerun
from orchestrator.errors import NotFoundError
from orchestrator.protocol.fields import Field
from orchestrator.protocol.function_config import read_url
from orchestrator.store import functions
from orchestrator.store.functions import App
from orchestrator.store.search import RunRow

_REASON = "cancelled through the API"
_SHOWN = 200

mutation = MutationType()


@mutation.field("createApp")
def _create_app(_root: object, info: Info, input: Mapping[str, str]) -> App:
    info.context.caller.require(Scope.APPS)
    return adopt(info.context.parts, _url(input))


@mutation.field("updateApp")
def _update_app(_root: object, info: Info, input: Mapping[str, str]) -> App:
    info.context.caller.require(Scope.APPS)
    return move(info.context.parts, input["id"], _url(input))


@mutation.field("deleteApp")
def _delete_app(_root: object, info: Info, id: str) -> str:
    caller = info.context.caller
    caller.require(Scope.APPS)
    if not retire(info.context.parts, id, caller.actor):
        raise NotFoundError(f"there is no app {id[:_SHOWN]}")
    return id


@mutation.field("deleteAppByName")
def _delete_app_by_name(_root: object, info: Info, name: str) -> bool:
    parts, caller = info.context.parts, info.context.caller
    caller.require(Scope.APPS)
    with parts.database.read() as conn:
        app = functions.app_by_name(conn, name)
    return app is not None and retire(parts, app.id, caller.actor)


@mutation.field("invokeFunction")
def _invoke_function(
    _root: object,
    info: Info,
    functionSlug: str,  # noqa: N803  # GraphQL's name
    data: Mapping[str, Any] | None = None,
    user: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
    debugSessionID: str | None = None,  # noqa: N803
    debugRunID: str | None = None,  # noqa: N803
) -> bool:
    asked, caller = info.context, info.context.caller
    caller.require(Scope.WRITE)
    refuse_session(debugSessionID, debugRunID)
    given = json_object("data", data, caller.limits) or "{}"
    invoke(asked.parts, functionSlug, given, json_object("user", user, caller.limits), caller.actor)
    return True


@mutation.field("cancelRun")
def _cancel_run(_root: object, info: Info, runID: str) -> RunRow:  # noqa: N803
    asked, caller = info.context, info.context.caller
    caller.require(Scope.WRITE)
    cancel(asked.parts, runID, _REASON, caller.actor)
    return known_run(asked, runID)


@mutation.field("rerun")
def _rerun(
    _root: object,
    info: Info,
    runID: str,  # noqa: N803
    fromStep: Mapping[str, str | None] | None = None,  # noqa: N803
    debugSessionID: str | None = None,  # noqa: N803
    debugRunID: str | None = None,  # noqa: N803
) -> str:
    caller = info.context.caller
    caller.require(Scope.WRITE)
    refuse_session(debugSessionID, debugRunID)
    step = FromStep(str(fromStep["stepID"]), fromStep.get("input") or None) if fromStep is not None else None
    return rerun(info.context.parts, runID, step, caller.actor)


def _url(given: Mapping[str, str]) -> str:
    return read_url(Field("the input", "url", given["url"]))
