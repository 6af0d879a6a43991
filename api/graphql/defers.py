"""Runs that other runs deferred: started once those have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from orchestrator.api.graphql.context import Context
from orchestrator.api.graphql.events import data_of
from orchestrator.api.graphql.fields import object_type
from orchestrator.core.effect import Status
from orchestrator.core.event import DEFERRED_SCHEDULE
from orchestrator.store.search import RunRow
from orchestrator.store.steps import Deferral

Shape = dict[str, object]


class _Asked(msgspec.Struct):
    """What is kept of a deferral."""

    function: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _About(msgspec.Struct):
    """What the event of a deferred run says of the one that deferred it."""

    parent_run_id: str = ""
    parent_fn_slug: str = ""


class _Data(msgspec.Struct):
    inngest: _About = msgspec.field(name="_inngest", default_factory=_About)


@dataclass(frozen=True, slots=True)
class _Origin:
    """The run that deferred another, its function, and the deferral's id there."""

    run_id: str
    function_slug: str
    step_id: str


def _defers(run: RunRow, asked: Context) -> Sequence[Shape]:
    return [_shape(it, run) for it in asked.items(asked.deferrals.get(run.id) or ())]


def _siblings(run: RunRow, asked: Context) -> Sequence[Shape]:
    origin = _origin(run, asked)
    parent = asked.runs.get(origin.run_id) if origin is not None else None
    if origin is None or parent is None:
        return []
    others = [it for it in asked.deferrals.get(parent.id) or () if it.id != origin.step_id]
    return [_shape(it, parent) for it in asked.items(others)]


def _deferred_from(run: RunRow, asked: Context) -> Shape | None:
    origin = _origin(run, asked)
    if origin is None:
        return None
    return {
        "runID": origin.run_id,
        "functionSlug": origin.function_slug,
        "run": lambda _info: asked.runs.get(origin.run_id),
    }


def _origin(run: RunRow, asked: Context) -> _Origin | None:
    event = asked.events.get(run.event_id) if run.event_name == DEFERRED_SCHEDULE else None
    if event is None:
        return None
    about = msgspec.json.decode(data_of(event), type=_Data).inngest
    # The event's own id is the run's and the deferral's, with a dot between.
    step_id = (event.external_id or "").partition(".")[2]
    return _Origin(about.parent_run_id, about.parent_fn_slug, step_id) if about.parent_run_id else None


def _shape(deferral: Deferral, run: RunRow) -> Shape:
    wanted = msgspec.json.decode(deferral.input, type=_Asked)
    return {
        "id": deferral.id,
        "functionSlug": wanted.function,
        "status": _status(deferral, run.status),
        "input": bytes(wanted.data).decode(),
    }


def _status(deferral: Deferral, status: Status) -> str:
    if deferral.dropped or status is Status.CANCELLED:
        return "ABORTED"
    return "STARTED" if status.final else "SCHEDULED"


run_type = object_type("FunctionRunV2", {"defers": _defers, "siblingDefers": _siblings, "deferredFrom": _deferred_from})
