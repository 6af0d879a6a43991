"""A run's trace, by tables: its row, its steps and its story in, a tree of spans out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.core.effect import Status, StepStatus
from orchestrator.core.spans import (
    EventWaitInfo,
    InvokeInfo,
    SignalInfo,
    SleepInfo,
    Span,
    SpanKind,
    SpanPlace,
    SpanStatus,
    TaskInfo,
    Traced,
    TracedAttempt,
    TracedJob,
    TracedRun,
    TracedStep,
)
from orchestrator.core.trace import tree

RUN = "01M7ZYE97T4CV2PDS8NGCHEV2Q"
EVENT = "01M7ZYE97T4CV2PDS8NGCHEV2R"
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def a_run(status: Status = Status.RUNNING, ended: float | None = None, **values: Any) -> TracedRun:
    return TracedRun(RUN, "fn", status, START, at(1), at(ended) if ended is not None else None, **values)


def a_step(step_id: str, status: StepStatus = StepStatus.COMPLETED, **values: Any) -> TracedStep:
    times = {"queued_at": None, "started_at": None, "ended_at": None, "wake_at": None}
    times |= {name: at(values.pop(name)) for name in list(values) if name in times and values[name] is not None}
    defaults = {"name": step_id, "op": "StepRun", "attempts": 1, "seq": None}
    return TracedStep(id=step_id, status=status, **(defaults | times | values))


def failed(number: int, step_id: str | None, attempt: int, began: float, ended: float, again: float) -> TracedAttempt:
    return TracedAttempt(number, step_id, attempt, at(began), at(ended), at(again))


def spans(*steps: TracedStep, run: TracedRun | None = None, **values: Any) -> list[Span]:
    return list(tree(Traced(run or a_run(), steps, **values)).children)


def times(span: Span) -> tuple[float | None, ...]:
    return tuple(
        (it - START).total_seconds() if it is not None else None
        for it in (span.queued_at, span.started_at, span.ended_at)
    )


def test_the_root_is_the_run() -> None:
    root = tree(Traced(a_run(Status.COMPLETED, ended=9, result=True)))

    assert (None, "fn", SpanKind.FUNCTION, SpanStatus.COMPLETED) == (root.parent_id, root.name, root.kind, root.status)
    assert ((0, 1, 9), SpanPlace(RUN)) == (times(root), SpanPlace.decode(root.output_id or ""))


@pytest.mark.parametrize("status", list(Status))
def test_every_status_of_a_run_has_one_of_a_span(status: Status) -> None:
    assert SpanStatus(status.name) is tree(Traced(a_run(status))).status


def test_steps_come_in_the_order_in_which_they_came_to_be() -> None:
    group = [a_step(name, queued_at=5, position=at, seq=9 - at) for at, name in enumerate("zyx")]
    before, after_all = a_step("b", started_at=2, ended_at=3, seq=1), a_step("a", started_at=20, ended_at=21, seq=10)

    assert ["b", "z", "y", "x", "a"] == [span.name for span in spans(after_all, *reversed(group), before)]


def test_time_in_queues_is_apart_from_time_at_work() -> None:
    [span] = spans(a_step("s", queued_at=2, started_at=5, ended_at=7))

    assert (2, 5, 7) == times(span)


def test_a_step_that_ran_on_the_spot_was_in_no_queue() -> None:
    [span] = spans(a_step("s", started_at=5, ended_at=7))

    assert (5, 5, 7) == times(span)


@pytest.mark.parametrize(
    ("status", "leased", "shown"),
    [
        (StepStatus.PLANNED, False, SpanStatus.QUEUED),
        (StepStatus.PLANNED, True, SpanStatus.RUNNING),
        (StepStatus.RETRYING, False, SpanStatus.QUEUED),
        (StepStatus.SLEEPING, False, SpanStatus.WAITING),
        (StepStatus.WAITING, False, SpanStatus.WAITING),
        (StepStatus.COMPLETED, False, SpanStatus.COMPLETED),
        (StepStatus.FAILED, False, SpanStatus.FAILED),
        (StepStatus.DEFERRED, False, SpanStatus.QUEUED),
        (StepStatus.DROPPED, False, SpanStatus.CANCELLED),
    ],
)
def test_every_status_of_a_step_has_one_of_a_span(status: StepStatus, leased: bool, shown: SpanStatus) -> None:
    [span] = spans(a_step("s", status), jobs=[TracedJob("s", leased, START)])

    assert shown is span.status


def test_what_a_run_leaves_open_ends_with_it() -> None:
    run = a_run(Status.CANCELLED, ended=9)

    [span] = spans(a_step("s", StepStatus.SLEEPING, queued_at=2), run=run)

    assert (SpanStatus.CANCELLED, (2, None, 9)) == (span.status, times(span))


def test_a_step_that_was_tried_again_has_a_span_for_each_try() -> None:
    tries = [failed(31, "s", 0, 2, 3, 8), failed(32, "s", 1, 9, 10, 20)]

    [span] = spans(a_step("s", queued_at=1, started_at=21, ended_at=22, attempts=3), attempts=tries)

    assert ((1, 2, 22), 3, 2) == (times(span), span.attempts, span.attempt)
    assert [
        ("Attempt 0", SpanStatus.FAILED, (1, 2, 3), SpanPlace(RUN, "s", 31)),
        ("Attempt 1", SpanStatus.FAILED, (8, 9, 10), SpanPlace(RUN, "s", 32)),
        ("Attempt 2", SpanStatus.COMPLETED, (20, 21, 22), SpanPlace(RUN, "s")),
    ] == [(it.name, it.status, times(it), SpanPlace.decode(it.output_id or "")) for it in span.children]
    assert {span.id} == {it.parent_id for it in span.children}


def test_a_step_that_is_to_be_tried_again_waits_for_that() -> None:
    step = a_step("s", StepStatus.PLANNED, queued_at=1, started_at=2, attempts=1)

    [span] = spans(step, attempts=[failed(31, "s", 0, 2, 3, 8)])

    assert (SpanStatus.QUEUED, (1, 2, None)) == (span.status, times(span))
    assert [("Attempt 0", (1, 2, 3)), ("Attempt 1", (8, None, None))] == [(it.name, times(it)) for it in span.children]


def test_calls_of_the_function_that_failed_are_spans_of_their_own() -> None:
    tries = [failed(31, None, 0, 2, 3, 8), failed(32, None, 1, 9, 10, 20)]

    first, step, second = spans(a_step("s", started_at=5, ended_at=7), attempts=tries)

    assert (SpanKind.ATTEMPT, "Attempt 0", (0, 2, 3)) == (first.kind, first.name, times(first))
    assert ("s", (8, 9, 10)) == (step.name, times(second))


@pytest.mark.parametrize(
    ("op", "values", "kind", "info"),
    [
        ("Sleep", {"wake_at": 9}, SpanKind.SLEEP, SleepInfo(at(9))),
        (
            "WaitForEvent",
            {"wake_at": 9, "input": {"event": "a", "if": "x"}, "event_id": EVENT},
            SpanKind.WAIT_FOR_EVENT,
            EventWaitInfo("a", "x", at(9), EVENT, timed_out=False),
        ),
        (
            "WaitForEvent",
            {"wake_at": 9, "input": {"event": "a", "or": [{"event": "b", "if": "y"}]}, "timed_out": True},
            SpanKind.WAIT_FOR_EVENT,
            EventWaitInfo("a", None, at(9), None, timed_out=True, others=(("b", "y"),)),
        ),
        (
            "WaitForSignal",
            {"wake_at": 9, "input": {"signal": "go"}, "status": StepStatus.WAITING},
            SpanKind.WAIT_FOR_SIGNAL,
            SignalInfo("go", at(9), timed_out=None),
        ),
        (
            "InvokeFunction",
            {"wake_at": 9, "input": {"function": "app-two"}, "event_id": EVENT, "invoked_run_id": RUN},
            SpanKind.INVOKE,
            InvokeInfo("app-two", at(9), EVENT, RUN, timed_out=False),
        ),
        ("Task", {"input": {"task": "shop.pay"}}, SpanKind.TASK, TaskInfo("shop.pay")),
        ("StepRun", {}, SpanKind.RUN, None),
        ("Gateway", {}, SpanKind.GATEWAY, None),
        ("AIGateway", {}, SpanKind.AI_GATEWAY, None),
        ("DeferAdd", {}, SpanKind.DEFER, None),
        ("SomethingNew", {}, SpanKind.RUN, None),
    ],
)
def test_each_kind_of_step_tells_what_it_is_about(op: str, values: Any, kind: SpanKind, info: Any) -> None:
    [span] = spans(a_step("s", values.pop("status", StepStatus.COMPLETED), op=op, **values))

    assert (kind, op, info) == (span.kind, span.op, span.info)


def test_a_sleep_has_no_output() -> None:
    slept, ran = spans(a_step("a", op="Sleep", started_at=1, ended_at=2), a_step("b", started_at=3, ended_at=4))

    assert (None, SpanPlace(RUN, "b")) == (slept.output_id, SpanPlace.decode(ran.output_id or ""))


def test_a_skipped_run_says_why() -> None:
    root = tree(Traced(a_run(Status.SKIPPED, ended=0), reason="singleton", existing_run_id=EVENT))

    assert (SpanStatus.SKIPPED, "singleton", EVENT) == (root.status, root.reason, root.existing_run_id)


@pytest.mark.parametrize(
    "place",
    [
        SpanPlace(RUN),
        SpanPlace(RUN, "a.b/ä\n"),
        SpanPlace(RUN, "s", 12),
        SpanPlace(RUN, None, 12),
        SpanPlace(RUN, "s", last=True),
    ],
)
def test_the_id_of_a_span_leads_back_to_it(place: SpanPlace) -> None:
    assert place == SpanPlace.decode(place.encode())


@pytest.mark.parametrize("text", ["", "x", "é", "YWJj", "YS5iLmM", "a" * 10_000, "Li4u"])
def test_what_is_no_id_leads_nowhere(text: str) -> None:
    place = SpanPlace.decode(text)

    assert place is None or place.run_id != RUN
