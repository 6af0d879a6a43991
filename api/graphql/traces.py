"""A run's trace: its spans, and what each came to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from ariadne import ObjectType, UnionType

from orchestrator.api.graphql.context import Context
from orchestrator.api.graphql.fields import Info, object_type
from orchestrator.api.graphql.runs import known_run
from orchestrator.core.spans import (
    EventWaitInfo,
    InvokeInfo,
    SignalInfo,
    SleepInfo,
    Span,
    SpanKind,
    SpanStatus,
    TaskInfo,
)
from orchestrator.engine.trace import SpanOutput, span_output
from orchestrator.errors import NotFoundError

#: What the schema has a word for; what the server or a Celery task does for the function runs like code of its own.
_OPS = {
    SpanKind.RUN: "RUN",
    SpanKind.TASK: "RUN",
    SpanKind.GATEWAY: "RUN",
    SpanKind.SLEEP: "SLEEP",
    SpanKind.WAIT_FOR_EVENT: "WAIT_FOR_EVENT",
    SpanKind.WAIT_FOR_SIGNAL: "WAIT_FOR_SIGNAL",
    SpanKind.INVOKE: "INVOKE",
    SpanKind.AI_GATEWAY: "AI_GATEWAY",
}
_SHOWN = 60

Shape = dict[str, object]

query = ObjectType("Query")


@query.field("runTrace")
def _run_trace(_root: object, info: Info, runID: str) -> Span:  # noqa: N803  # GraphQL's name
    asked = info.context
    root = asked.traces.get(known_run(asked, runID).id)
    if root is None:
        raise NotFoundError(f"there is no run {runID}")
    return root


@query.field("runTraceSpanOutputByID")
def _span_output(_root: object, info: Info, outputID: str) -> Shape:  # noqa: N803  # GraphQL's name
    with info.context.parts.database.read() as conn:
        found = span_output(conn, outputID)
    if found is None:
        raise NotFoundError(f'there is no span with the outputID "{outputID[:_SHOWN]}"')
    return _output(found)


def _output(output: SpanOutput) -> Shape:
    error = output.error
    return {
        "input": output.input,
        "data": output.data,
        "error": error and {"message": error.message, "name": error.name, "stack": error.stack, "cause": error.cause},
    }


def _children(span: Span, asked: Context) -> Sequence[Span]:
    return asked.items(span.children)


def _parent(span: Span, asked: Context) -> Span | None:
    root = asked.traces.get(span.run_id) if span.parent_id is not None else None
    return next((it for it in _all(root) if it.id == span.parent_id), None) if root is not None else None


def _all(root: Span) -> Sequence[Span]:
    """The spans that have others below them."""
    return [root, *root.children]


def _duration(span: Span, _asked: Context) -> int | None:
    began = span.started_at or span.queued_at
    return max(round((span.ended_at - began).total_seconds() * 1000), 0) if span.ended_at is not None else None


def _of_run(name: str) -> Callable[[Span, Context], Any]:
    def read(span: Span, asked: Context) -> Any:
        return getattr(known_run(asked, span.run_id), name)

    return read


def _step_info(span: Span, _asked: Context) -> Shape | None:
    info = span.info
    if span.kind in (SpanKind.RUN, SpanKind.GATEWAY, SpanKind.AI_GATEWAY):
        return {"__typename": "RunStepInfo", "type": span.op}
    return _INFOS[type(info)](info) if info is not None else None


def _sleep(info: SleepInfo) -> Shape | None:
    return _timed("SleepStepInfo", info.until, "sleepUntil", {})


def _event_wait(info: EventWaitInfo) -> Shape | None:
    more: Shape = {"eventName": info.event_name, "expression": info.expression}
    return _timed("WaitForEventStepInfo", info.timeout, "timeout", more | _end(info.found_event_id, info.timed_out))


def _end(event_id: str | None, timed_out: bool | None) -> Shape:
    return {"foundEventID": event_id, "timedOut": timed_out}


def _invoke(info: InvokeInfo) -> Shape | None:
    if info.event_id is None:
        return None
    more: Shape = {"triggeringEventID": info.event_id, "functionID": info.function, "runID": info.run_id}
    return _timed("InvokeStepInfo", info.timeout, "timeout", more | {"timedOut": info.timed_out})


def _signal(info: SignalInfo) -> Shape | None:
    more: Shape = {"signal": info.signal, "timedOut": info.timed_out}
    return _timed("WaitForSignalStepInfo", info.timeout, "timeout", more)


def _task(info: TaskInfo) -> Shape:
    return {"__typename": "RunStepInfo", "type": info.task}


def _timed(type_name: str, at: datetime | None, name: str, more: Shape) -> Shape | None:
    """What a step waits for.  One that was kept without its time has nothing to tell."""
    return {"__typename": type_name, name: at} | more if at is not None else None


_INFOS: dict[type, Callable[[Any], Shape | None]] = {
    SleepInfo: _sleep,
    EventWaitInfo: _event_wait,
    InvokeInfo: _invoke,
    SignalInfo: _signal,
    TaskInfo: _task,
}

step_info_type = UnionType("StepInfo", lambda info, *_: info["__typename"])

span_type = object_type(
    "RunTraceSpan",
    {
        "appID": _of_run("app_id"),
        "functionID": _of_run("function_id"),
        "runID": lambda span, _: span.run_id,
        "run": lambda span, asked: known_run(asked, span.run_id),
        "spanID": lambda span, _: span.id,
        "traceID": lambda span, _: span.run_id,
        "groupID": lambda span, _: span.step_id,
        "name": lambda span, _: span.name,
        "status": lambda span, _: span.status.value,
        "attempts": lambda span, _: span.attempt,
        "duration": _duration,
        "outputID": lambda span, _: span.output_id,
        "queuedAt": lambda span, _: span.queued_at,
        "scheduledAt": lambda span, _: span.queued_at,
        "startedAt": lambda span, _: span.started_at,
        "endedAt": lambda span, _: span.ended_at,
        "childrenSpans": _children,
        "stepOp": lambda span, _: _OPS.get(span.kind),
        "stepID": lambda span, _: span.step_id,
        "stepInfo": _step_info,
        "stepType": lambda span, _: span.op or "",
        "isRoot": lambda span, _: span.parent_id is None,
        "parentSpanID": lambda span, _: span.parent_id,
        "parentSpan": _parent,
        "isUserland": lambda _span, _: False,
        "userlandSpan": lambda _span, _: None,
        "debugRunID": lambda _span, _: None,
        "debugSessionID": lambda _span, _: None,
        "debugPaused": lambda _span, _: False,
        "skipReason": lambda span, _: span.reason if span.status is SpanStatus.SKIPPED else None,
        "skipExistingRunID": lambda span, _: span.existing_run_id,
        "metadata": lambda _span, _: [],
        "response": lambda _span, _: None,
    },
)
