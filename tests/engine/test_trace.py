"""What a trace tells of a run that the engine has driven: names, times, links, outputs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from orchestrator.core.message import (
    Asked,
    InvokeAsked,
    Returned,
    SleepAsked,
    StepDone,
    StepErrored,
    StepPlanned,
    Threw,
)
from orchestrator.core.spans import EventWaitInfo, InvokeInfo, Span, SpanKind, SpanStatus
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine import trace as traces
from orchestrator.engine.match import match
from orchestrator.engine.trace import SpanError, SpanOutput, span_output
from orchestrator.ids import new_ulid
from orchestrator.store import jobs, runs
from orchestrator.store.database import Database
from tests.engine.world import MINUTE, NOW, World, waits
from tests.store.factories import insert_rows

ERROR = '{"name":"TypeError","message":"no","stack":"at f","cause":{"why":1}}'


def traced(world: World, run_id: str | None = None) -> Span:
    with world.parts.database.read() as conn:
        found = traces.trace(conn, run_id or world.run.id)
    assert found is not None
    return found.root


def output(world: World, span: Span) -> SpanOutput | None:
    with world.parts.database.read() as conn:
        return span_output(conn, span.output_id or "")


def drive(world: World) -> None:
    """Do what is due until nothing is."""
    while hints := world.due():
        for hint in hints:
            if hint.kind == jobs.MATCH:
                match(world.parts, [hint.job_id], room=0)
            else:
                world.work_on([hint.job_id])


def seconds(span: Span) -> tuple[float | None, ...]:
    return tuple((at - NOW).total_seconds() if at else None for at in (span.queued_at, span.started_at, span.ended_at))


def planned(world: World) -> Callable[[Call], Answer]:
    """Two steps in parallel, the first of which fails once."""

    def answer(call: Call) -> Answer:
        began = world.clock.now()
        done = StepDone(call.target or "", call.target or "", "StepRun", "2", began)
        if call.target == "two" and not call.attempt:
            error = StepErrored("two", "two", "StepRun", ERROR, final=False, started_at=began)
            return Answer(Asked("two", 0, (error,)))
        if call.target is not None:
            return Answer(Asked(call.target, call.attempt, (done,)))
        if call.memo:
            return Answer(Returned(None, call.attempt, '"all"'), request_version=2)
        asked = tuple(StepPlanned(name, name, "StepRun") for name in ("two", "one"))
        return Answer(Asked(None, call.attempt, asked), request_version=2)

    return answer


def test_steps_of_a_group_tell_when_they_were_planned_begun_and_ended(database: Database) -> None:
    world = World(database)
    world.driver.answer = planned(world)

    world.start()
    world.work()
    for _ in range(3):
        world.clock.advance(MINUTE)
        drive(world)

    root = traced(world)
    two, one = root.children
    assert [("two", SpanStatus.COMPLETED, 2), ("one", SpanStatus.COMPLETED, 1)] == [
        (span.name, span.status, span.attempts) for span in (two, one)
    ]
    assert ((0, 60, 60), 0, 60) == (seconds(one), *seconds(two)[:2])
    first, last = two.children
    assert (0, 60, 60) == seconds(first)
    assert SpanOutput(error=SpanError("TypeError", "no", "at f", '{"why":1}')) == output(world, first)
    assert SpanOutput(data="2") == output(world, last)
    assert '"all"' == (output(world, root) or SpanOutput()).data


def test_a_wait_keeps_what_it_waited_for_and_the_event_that_came(database: Database) -> None:
    world = World(database)
    world.driver.answer = waits
    world.start()
    world.work()
    run_id = world.run.id
    [waiting] = traced(world).children

    world.send("go", data='{"x":1}')
    world.start()
    world.work()

    [span] = traced(world, run_id).children
    until = NOW + timedelta(hours=1)
    assert EventWaitInfo("go", None, until, None, timed_out=None) == waiting.info
    assert (SpanStatus.WAITING, SpanStatus.COMPLETED) == (waiting.status, span.status)
    assert EventWaitInfo("go", None, until, world.event_id, timed_out=False) == span.info
    assert '"x":1' in ((output(world, span) or SpanOutput()).data or "")


def test_a_wait_in_vain_says_so(database: Database) -> None:
    world = World(database)
    world.driver.answer = waits
    world.start()
    world.work()

    world.clock.advance(timedelta(hours=1))
    world.work_on([hint.job_id for hint in world.due()])

    [span] = traced(world).children
    assert EventWaitInfo("go", None, NOW + timedelta(hours=1), None, timed_out=True) == span.info


def test_an_invoke_leads_to_the_run_it_came_to(database: Database) -> None:
    world = World(database)

    def invokes(call: Call) -> Answer:
        if call.memo or '"child":true' in call.events[0]:
            return Answer(Returned(None, call.attempt, '"done"'), request_version=2)
        asked = InvokeAsked("i", "call it", "InvokeFunction", "app-fn", '{"child":true}', NOW + MINUTE)
        return Answer(Asked(None, call.attempt, (asked,)), request_version=2)

    world.driver.answer = invokes
    world.start()
    world.work()
    parent = world.run.id
    [waiting] = traced(world).children
    drive(world)

    [span] = traced(world, parent).children
    assert isinstance(waiting.info, InvokeInfo)
    assert isinstance(span.info, InvokeInfo)
    assert ("app-fn", None, False) == (span.info.function, waiting.info.run_id, span.info.timed_out)
    with database.read() as conn:
        child = runs.get(conn, span.info.run_id or "")
    assert child is not None
    assert (waiting.info.event_id, f"{parent}.i") == (child.event_id, child.correlation_id)
    assert (SpanKind.INVOKE, '"done"') == (span.kind, (output(world, span) or SpanOutput()).data)


def test_a_function_that_fails_has_its_tries_and_its_error(database: Database) -> None:
    world = World(database)
    world.driver.answer = lambda call: Answer(Threw(None, call.attempt, ERROR, retryable=call.attempt == 0))
    world.start()
    world.work()
    world.clock.advance(MINUTE)
    drive(world)

    root = traced(world)

    assert (SpanStatus.FAILED, 2) == (root.status, root.attempts)
    [tried] = root.children
    assert "no" == (output(world, tried) or SpanOutput()).error.message  # type: ignore[union-attr]
    found = output(world, root)
    assert found is not None
    assert (None, SpanError("TypeError", "no", "at f", '{"why":1}')) == (found.data, found.error)
    assert (found.input or "").startswith('[{"data":{}')


def test_a_sleep_says_until_when(database: Database) -> None:
    world = World(database)
    asked = SleepAsked("z", "nap", "Sleep", NOW + MINUTE)
    world.driver.answer = lambda call: Answer(Asked(None, call.attempt, (asked,)), request_version=2)
    world.start()
    world.work()

    [span] = traced(world).children

    assert (SpanKind.SLEEP, SpanStatus.WAITING, (0, 0, None), None) == (
        span.kind,
        span.status,
        seconds(span),
        span.output_id,
    )


@pytest.mark.parametrize("output_id", ["", "nothing", "x" * 1_000, "MDEuLg"])
def test_no_span_has_nothing(database: Database, output_id: str) -> None:
    with database.read() as conn:
        assert span_output(conn, output_id) is None


def test_no_run_has_no_trace(database: Database) -> None:
    with database.read() as conn:
        assert traces.trace(conn, new_ulid()) is None


def test_a_run_of_ten_thousand_steps_is_read_in_few_statements_and_cut_where_it_is_wished(
    database: Database,
) -> None:
    world = World(database)
    world.start()
    run_id = world.run.id
    row = {"run_id": run_id, "name": "s", "op": "StepRun", "status": "completed", "counted": False, "attempts": 1}
    rows = [row | {"id": f"s{at:05}", "seq": at + 1, "memo": '{"data":1}', "ended_at": NOW} for at in range(10_000)]
    with database.write() as conn:
        insert_rows(conn, "steps", rows)

    with database.read() as conn:
        whole, cut = traces.trace(conn, run_id), traces.trace(conn, run_id, most=100)

    assert whole is not None
    assert cut is not None
    assert ((10_000, False), (100, True)) == (
        (len(whole.root.children), whole.truncated),
        (len(cut.root.children), cut.truncated),
    )
    assert [f"s{at:05}" for at in range(100)] == [span.step_id for span in cut.root.children]


def test_a_step_on_the_spot_that_failed_once_was_in_a_queue_between_its_tries_only(database: Database) -> None:
    world = World(database)

    def answer(call: Call) -> Answer:
        began = world.clock.now()
        if not call.attempt:
            world.clock.advance(timedelta(seconds=5))
            error = StepErrored("s", "s", "StepRun", ERROR, final=False, started_at=began)
            return Answer(Asked(None, 0, (error,)), request_version=2)
        return Answer(Asked(None, call.attempt, (StepDone("s", "s", "StepRun", "2", began),)), request_version=2)

    world.driver.answer = answer
    world.start()
    world.work()
    world.clock.advance(MINUTE)
    hints = world.due()
    world.driver.answer = lambda call: answer(call) if not call.memo else Answer(Returned(None, call.attempt, "1"))
    world.work_on([hint.job_id for hint in hints])

    [span] = traced(world).children
    first, last = span.children
    assert ((0, 0, 65), (0, 0, 5)) == (seconds(span), seconds(first))
    assert (65, 65) == seconds(last)[1:]
    assert 5 < (seconds(last)[0] or 0) <= 65
