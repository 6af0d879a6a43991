"""Runs: lists of them, and what one came from and came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ariadne import ObjectType

from orchestrator.api.graphql.context import Context
from orchestrator.api.graphql.events import cron_of, happens_at
from orchestrator.api.graphql.fields import Info, object_type
from orchestrator.api.graphql.pages import check_first, connection, counted, some_of
from orchestrator.api.routing import check_ulid
from orchestrator.core.effect import Status
from orchestrator.core.event import DEFERRED_SCHEDULE
from orchestrator.engine.search import count_runs, search_runs
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.ids import ulid_moment
from orchestrator.store.event_search import EventRow
from orchestrator.store.filters import RunFilter, RunOrder, TimeField
from orchestrator.store.search import RunRow

#: What stands for a function or an app that is gone.
_GONE = "00000000-0000-0000-0000-000000000000"
_TIMES = {"QUEUED_AT": TimeField.QUEUED, "STARTED_AT": TimeField.STARTED, "ENDED_AT": TimeField.ENDED}

Shape = dict[str, object]

query = ObjectType("Query")


@query.field("runs")
def _list_runs(
    _root: object,
    info: Info,
    filter: Mapping[str, Any],
    orderBy: Sequence[Mapping[str, str]],  # noqa: N803  # GraphQL's name
    first: int,
    after: str | None = None,
    preview: bool | None = None,
) -> Shape:
    asked = info.context
    check_first(first)
    wanted, order = _filter(filter), _order(orderBy)
    with asked.parts.database.read() as conn:
        page = search_runs(conn, wanted, order, after or None, first)
    asked.know_runs(page.items)
    asked.items(page.items)
    asked.warn(page.error)

    def count() -> int:
        with asked.parts.database.read() as conn:
            if wanted.query is None:
                return count_runs(conn, wanted).number
            return counted(lambda cursor, most: search_runs(conn, wanted, order, cursor, most))

    return connection(page, after, count)


def _filter(given: Mapping[str, Any]) -> RunFilter:
    return RunFilter(
        since=given["from"],
        until=given.get("until"),
        time_field=_TIMES[given.get("timeField") or "QUEUED_AT"],
        statuses=tuple(Status(status.lower()) for status in some_of(given, "status")),
        function_ids=some_of(given, "functionIDs"),
        app_ids=some_of(given, "appIDs"),
        deferred=given.get("isDeferred"),
        query=given.get("query") or None,
    )


def _order(given: Sequence[Mapping[str, str]]) -> RunOrder:
    if len(given) > 1:
        raise RequestError("orderBy must name one field: a second one would change nothing")
    if not given:
        return RunOrder()
    return RunOrder(_TIMES[given[0]["field"]], given[0]["direction"] == "DESC")


@query.field("run")
def _run(_root: object, info: Info, runID: str) -> RunRow | None:  # noqa: N803
    return find_run(info.context, runID)


@query.field("functionRun")
def _function_run(_root: object, info: Info, query: Mapping[str, str]) -> RunRow | None:
    return find_run(info.context, query["functionRunId"], "functionRunId")


@query.field("runTrigger")
def _run_trigger(_root: object, info: Info, runID: str) -> Shape:  # noqa: N803
    asked = info.context
    run = known_run(asked, runID)
    found = events_of(run, asked)
    if not found:
        raise NotFoundError(f"the events of the run {run.id} are gone")
    cron = cron_of(found[0])
    return {
        "eventName": run.event_name if cron is None else None,
        "IDs": _event_ids(run, asked),
        "payloads": [event.payload for event in found],
        "timestamp": happens_at(found[0]),
        "isBatch": run.batch_id is not None,
        "batchID": run.batch_id,
        "cron": cron,
    }


def find_run(asked: Context, run_id: str, name: str = "runID") -> RunRow | None:
    """Return the run; None: there is none.  Raises `RequestError` for what is no id."""
    found = asked.runs.get(check_ulid(name, run_id))
    if found is not None:
        asked.know_runs([found])
    return found


def known_run(asked: Context, run_id: str) -> RunRow:
    """Return the run.  Raises `NotFoundError`."""
    found = find_run(asked, run_id)
    if found is None:
        raise NotFoundError(f"there is no run {run_id}")
    return found


def events_of(run: RunRow, asked: Context) -> Sequence[EventRow]:
    """The events that the run was started with, less those that are gone."""
    ids = _event_ids(run, asked)
    asked.events.expect(ids)
    return asked.items([event for event_id in ids if (event := asked.events.get(event_id)) is not None])


def _event_ids(run: RunRow, asked: Context) -> Sequence[str]:
    batch = asked.events_of_batch.get(run.batch_id) if run.batch_id is not None else None
    return batch or [run.event_id]


def output_of(run: RunRow, asked: Context) -> str | None:
    """What the run has come to, which shows together with its end and not before."""
    return asked.outputs.get(run.id) if run.status.final else None


def status_of(run: RunRow, _asked: Context) -> str:
    """The run's status in the schema's words."""
    return run.status.value.upper()


def _batch_created(run: RunRow, _asked: Context) -> object:
    return ulid_moment(run.batch_id) if run.batch_id is not None else None


def _history(run: RunRow, asked: Context) -> Sequence[Shape]:
    root = asked.traces.get(run.id)
    names = {it.step_id: it.name for it in root.children} if root is not None else {}
    return [
        {
            "id": f"{run.id}.{number}",
            "type": entry.kind,
            "attempt": entry.attempt or 0,
            "createdAt": entry.at,
            "stepID": entry.step_id,
            "stepName": names.get(entry.step_id),
            "result": entry.data,
        }
        for number, entry in enumerate(asked.items(asked.stories.get(run.id) or ()))
    ]


def _waiting_for(run: RunRow, asked: Context) -> Shape | None:
    wait = asked.event_waits.get(run.id) if not run.status.final else None
    if wait is None:
        return None
    return {"eventName": wait.event_name, "expression": wait.expression, "expiryTime": wait.expires_at}


function_run_type = object_type(
    "FunctionRun",
    {
        "id": lambda run, _: run.id,
        "functionID": lambda run, _: run.function_id,
        "function": lambda run, asked: asked.functions.get(run.function_id),
        "event": lambda run, asked: asked.events.get(run.event_id),
        "events": events_of,
        "batchID": lambda run, _: run.batch_id,
        "batchCreatedAt": _batch_created,
        "status": status_of,
        "waitingFor": _waiting_for,
        "startedAt": lambda run, _: run.started_at,
        "finishedAt": lambda run, _: run.ended_at,
        "output": output_of,
        "history": _history,
        "eventID": lambda run, _: run.event_id,
        "cron": lambda run, _: run.cron,
    },
)

run_type = object_type(
    "FunctionRunV2",
    {
        "id": lambda run, _: run.id,
        "appID": lambda run, _: run.app_id or _GONE,
        "app": lambda run, asked: asked.apps.get(run.app_id or _GONE),
        "functionID": lambda run, _: run.function_id,
        "function": lambda run, asked: asked.functions.get(run.function_id),
        "traceID": lambda run, _: run.id,
        "queuedAt": lambda run, _: run.queued_at,
        "startedAt": lambda run, _: run.started_at,
        "endedAt": lambda run, _: run.ended_at,
        "status": status_of,
        "sourceID": lambda _run, _: None,
        "triggerIDs": _event_ids,
        "eventName": lambda run, _: run.event_name if run.cron is None else None,
        "isBatch": lambda run, _: run.batch_id is not None,
        "batchCreatedAt": _batch_created,
        "cronSchedule": lambda run, _: run.cron,
        "output": output_of,
        "trace": lambda run, asked: asked.traces.get(run.id),
        "hasAI": lambda run, asked: bool(asked.asking_models.get(run.id)),
        "isDeferred": lambda run, _: run.event_name == DEFERRED_SCHEDULE,
    },
)
