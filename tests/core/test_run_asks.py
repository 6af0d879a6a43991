"""The run machine: what a function asks of the server, and what is kept of its answers, by tables."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.core.effect import (
    AddFetch,
    ClosePause,
    Continue,
    Discover,
    End,
    Finish,
    OpenPause,
    Record,
    Retry,
    SaveStep,
    Status,
    StepStatus,
)
from orchestrator.core.message import (
    Asked,
    Checkpointed,
    DiscoveryAsked,
    Expired,
    FetchAsked,
    InvokeAsked,
    Op,
    Resumed,
    Returned,
    SignalAsked,
    StepDone,
    StepPlanned,
    Threw,
    TimedOut,
    WaitAsked,
)
from orchestrator.core.run import Decision, Run, StepState, advance, has_deferred
from tests.core.deciding import (
    ERROR,
    LATER,
    NEVER,
    NOW,
    POLICY,
    asked,
    asks,
    decide,
    done,
    errored,
    saved,
    sleep,
    with_steps,
)


def test_a_checkpoint_memoises_its_steps_and_the_call_goes_on() -> None:
    steps = (StepDone("a", "a", "StepRun", "1"), StepDone("b", "b", "StepRun", "2"))

    decision = advance(Run("r"), Checkpointed(None, 0, steps), POLICY, NOW, 0)

    saved = [(step.id, step.memo) for step in decision.effects if isinstance(step, SaveStep)]
    assert [("a", '{"data":1}'), ("b", '{"data":2}')] == saved
    assert (Continue(), 2) == (decision.then, decision.run.step_count)


def test_a_step_checkpointed_twice_stays_as_it_was() -> None:
    run = Run("r", step_count=1, steps={"a": StepState(StepStatus.COMPLETED)})

    decision = advance(run, Checkpointed(None, 0, (StepDone("a", "a", "StepRun", "2"),)), POLICY, NOW, 0)

    assert ((), Continue()) == (decision.effects, decision.then)


def test_a_checkpoint_of_too_many_steps_ends_the_run() -> None:
    decision = advance(
        Run("r", step_count=100), Checkpointed(None, 0, (StepDone("a", "a", "StepRun", "1"),)), POLICY, NOW, 0
    )

    assert Status.FAILED == decision.run.status


@pytest.mark.parametrize("op", [StepDone("a", "a", "StepRun", "1"), StepPlanned("a", "a", "StepRun", race=True)])
def test_a_step_memoised_while_the_call_ran_is_progress_though_the_answer_adds_nothing(op: Op) -> None:
    run = Run("r", step_count=1, steps={"a": StepState(StepStatus.COMPLETED)})

    assert Continue() == advance(run, Asked(None, 0, (op,), progressed=True), POLICY, NOW, 0).then
    assert isinstance(advance(run, Asked(None, 0, (op,)), POLICY, NOW, 0).then, Retry)


@pytest.mark.parametrize("ask", asks())
def test_what_is_waited_for_opens_a_pause_and_the_run_rests(ask: WaitAsked | InvokeAsked | SignalAsked):
    decision = decide(Run("r"), asked(ask))

    assert ({"a": StepStatus.WAITING}, End()) == (saved(decision), decision.then)
    assert OpenPause(ask) in decision.effects
    assert (1, 0) == (decision.run.open, decision.run.pending)


@pytest.mark.parametrize("ask", asks())
def test_what_is_waited_for_already_is_not_opened_twice(ask: WaitAsked | InvokeAsked | SignalAsked):
    decision = decide(with_steps(a=StepStatus.WAITING), asked(ask))

    assert ((), End()) == (decision.effects, decision.then)


def test_an_answer_is_memoised_as_it_is_and_the_function_goes_on():
    decision = decide(with_steps(a=StepStatus.WAITING), Resumed("a", '{"name":"shop/paid"}'))

    step, closed, discover = decision.effects
    assert (StepStatus.COMPLETED, '{"name":"shop/paid"}') == (step.status, step.memo)
    assert (ClosePause("a"), Discover(), 0) == (closed, discover, decision.run.open)
    assert End() == decision.then


def test_a_failure_of_what_was_waited_for_is_an_error_of_the_step():
    decision = decide(with_steps(a=StepStatus.WAITING), Resumed("a", error=ERROR))

    step = decision.effects[0]
    assert (StepStatus.FAILED, f'{{"error":{ERROR}}}', ERROR) == (step.status, step.memo, step.error)


@pytest.mark.parametrize(("error", "memo"), [(None, "null"), (ERROR, f'{{"error":{ERROR}}}')])
def test_a_timeout_is_null_unless_it_is_a_failure(error: str | None, memo: str):
    decision = decide(with_steps(a=StepStatus.WAITING), TimedOut("a", error))

    assert memo == decision.effects[0].memo


@pytest.mark.parametrize("message", [Resumed("a", "1"), TimedOut("a")])
@pytest.mark.parametrize("status", [StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SLEEPING, StepStatus.PLANNED])
def test_an_answer_for_what_does_not_wait_changes_nothing(message: Resumed | TimedOut, status: StepStatus):
    decision = decide(with_steps(a=status), message)

    assert ((), End()) == (decision.effects, decision.then)


def test_an_answer_beside_pending_steps_leads_to_no_discovery():
    decision = decide(with_steps(pending=1, a=StepStatus.WAITING, b=StepStatus.PLANNED), Resumed("a", "1"))

    assert Discover() not in decision.effects


def test_a_discovery_that_was_overtaken_by_an_answer_is_made_again():
    """The app was asked before the wait was over, and so asks for it once more; nothing else is outstanding."""
    run = with_steps(a=StepStatus.COMPLETED)
    ask = asks()[0]

    overtaken = decide(run, Asked(None, 0, (ask,), progressed=True))
    stubborn = decide(run, Asked(None, 0, (ask,)))

    assert (Continue(), Retry) == (overtaken.then, type(stubborn.then))


@pytest.mark.parametrize(
    ("status", "limit", "reason"),
    [
        (Status.QUEUED, "start", "not started within 5m (timeouts.start)"),
        (Status.QUEUED, "finish", "not finished within 5m (timeouts.finish)"),
        (Status.RUNNING, "finish", "not finished within 5m (timeouts.finish)"),
    ],
)
def test_a_run_that_takes_longer_than_it_may_is_cancelled_and_says_so(status: Status, limit: str, reason: str):
    decision = decide(Run("r", status), Expired(limit, timedelta(minutes=5)))

    assert (Status.CANCELLED, End()) == (decision.run.status, decision.then)
    assert (Record("cancelled", data=json.dumps({"reason": reason})), Finish(Status.CANCELLED)) == decision.effects


def test_a_run_that_has_begun_cannot_miss_its_begin():
    run = Run("r", Status.RUNNING)

    assert Decision(run, (), End()) == decide(run, Expired("start", timedelta(minutes=5)))


def test_a_request_is_made_and_the_run_rests():
    decision = decide(Run("r"), asked(FetchAsked("f", "F", "Gateway", "{}")))

    assert ({"f": StepStatus.PLANNED}, End()) == (saved(decision), decision.then)
    assert AddFetch("f", "{}") in decision.effects
    assert (1, 0) == (decision.run.open, decision.run.pending)


def test_a_request_under_way_is_not_made_twice():
    run = with_steps(f=StepStatus.PLANNED, b=StepStatus.SLEEPING)

    assert ((), End()) == (lambda it: (it.effects, it.then))(decide(run, asked(FetchAsked("f", "F", "Gateway", "{}"))))


def test_the_answer_to_a_request_leads_to_a_discovery_whatever_else_is_open():
    steps = {"f": StepState(StepStatus.PLANNED), "a": StepState(StepStatus.PLANNED, counted=True)}
    run = Run("r", pending=1, open=2, step_count=2, steps=steps)

    decision = decide(run, asked(done("f"), target="f"))

    assert Discover() in decision.effects
    assert (1, 1) == (decision.run.open, decision.run.pending)


def test_a_request_that_failed_is_made_again_by_the_same_job():
    run = Run("r", open=1, step_count=1, steps={"f": StepState(StepStatus.PLANNED)})

    decision = decide(run, asked(errored("f"), target="f"))

    assert isinstance(decision.then, Retry)
    assert ({"f": StepStatus.PLANNED}, 1, 0) == (saved(decision), decision.run.open, decision.run.pending)


def test_an_app_that_asks_to_be_called_again_is_called_at_once_but_not_for_ever():
    ask = DiscoveryAsked("d", "D", "DiscoveryRequest")

    again = decide(Run("r"), asked(ask, attempt=1)).then
    last = decide(Run("r"), asked(ask, attempt=2))

    assert (Retry, NOW, 2) == (type(again), again.at, again.attempt)
    assert Status.FAILED is last.run.status


def test_a_wish_to_be_called_again_says_nothing_beside_a_step():
    ask = DiscoveryAsked("d", "D", "DiscoveryRequest")

    assert Continue() == decide(Run("r"), asked(ask, done("a"))).then
    assert End() == decide(Run("r"), asked(ask, sleep("s"))).then


@pytest.mark.parametrize(
    "message",
    [
        asked(LATER, done("a")),
        Returned(None, 0, "1", ops=(LATER,)),
        Threw(None, 0, ERROR, retryable=True, ops=(LATER,)),
        Threw(None, 0, ERROR, retryable=False, ops=(LATER,)),
        Checkpointed(None, 0, (LATER,)),
    ],
)
def test_what_is_deferred_is_kept_whatever_it_came_with(message):
    decision = decide(Run("r"), message)

    [kept] = [it for it in decision.effects if isinstance(it, SaveStep) and it.id == "l"]
    assert (StepStatus.DEFERRED, None, NOW) == (kept.status, kept.memo, kept.started_at)
    assert {"function": "app-later", "data": {"n": 1}} == json.loads(kept.input)
    assert (0, 0) == (decision.run.open, decision.run.pending)


@pytest.mark.parametrize("status", [StepStatus.DEFERRED, StepStatus.DROPPED, StepStatus.COMPLETED])
def test_what_was_deferred_before_is_not_deferred_again(status):
    assert () == decide(with_steps(l=status), Checkpointed(None, 0, (LATER,))).effects


def test_what_was_deferred_can_be_dropped():
    decision = decide(with_steps(l=StepStatus.DEFERRED), Checkpointed(None, 0, (NEVER,)))

    assert {"l": StepStatus.DROPPED} == saved(decision)


def test_what_is_deferred_and_dropped_at_once_is_not_started():
    assert StepStatus.DROPPED is decide(Run("r"), Checkpointed(None, 0, (LATER, NEVER))).steps["l"].status


@pytest.mark.parametrize("run", [Run("r"), with_steps(l=StepStatus.COMPLETED), with_steps(l=StepStatus.DROPPED)])
def test_what_was_not_deferred_cannot_be_dropped(run):
    assert () == decide(run, Checkpointed(None, 0, (NEVER,))).effects


def test_steps_done_before_a_function_failed_are_kept_for_its_next_attempt():
    decision = decide(Run("r"), Threw(None, 0, ERROR, retryable=True, ops=(done("a"),)))

    assert ({"a": StepStatus.COMPLETED}, Retry) == (saved(decision), type(decision.then))


@pytest.mark.parametrize(("status", "expected"), [(StepStatus.DEFERRED, True), (StepStatus.DROPPED, False)])
def test_a_run_knows_whether_something_is_deferred(status, expected):
    assert expected == has_deferred(with_steps(a=StepStatus.COMPLETED, l=status))


def test_outcomes_are_numbered_and_what_has_none_yet_takes_no_number():
    run = replace(Run("r"), last_seq=4)

    assert [5, 4] == [decide(run, asked(op)).run.last_seq for op in (done("a"), sleep("s"))]
