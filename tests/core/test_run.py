"""The run machine: what each message means, by tables."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.core.effect import (
    AddCall,
    AddWake,
    Continue,
    Discover,
    End,
    Finish,
    Record,
    Retry,
    SaveStep,
    Status,
    StepStatus,
)
from orchestrator.core.message import Asked, Cancelled, Checkpointed, Returned, StepDone, Threw, Unserved, Woke
from orchestrator.core.run import Decision, Policy, Run, StepState
from tests.core.deciding import (
    ERROR,
    LATE,
    NOW,
    POLICY,
    asked,
    decide,
    done,
    errored,
    planned,
    saved,
    sleep,
    with_steps,
)


def test_a_returned_value_completes_the_run():
    decision = decide(Run("r"), Returned(None, 0, '{"a":1}'))

    assert (Finish(Status.COMPLETED, '{"a":1}', None),) == decision.effects
    assert (Status.COMPLETED, End()) == (decision.run.status, decision.then)


def test_a_done_step_is_memoised_and_the_run_goes_on_at_once():
    decision = decide(Run("r"), asked(done("a", '{"x":[]}')))

    [step] = decision.effects
    assert ('{"data":{"x":[]}}', 1, True) == (step.memo, step.attempts, step.fresh)
    assert Continue() == decision.then


def test_the_run_goes_on_after_a_done_step_whatever_else_is_open():
    assert Continue() == decide(with_steps(s=StepStatus.SLEEPING), asked(done("a"))).then


def test_several_done_steps_of_one_answer_are_all_memoised():
    decision = decide(Run("r"), asked(done("a"), done("b")))

    assert {"a": StepStatus.COMPLETED, "b": StepStatus.COMPLETED} == saved(decision)
    assert Continue() == decision.then


@pytest.mark.parametrize("attempt", [0, 1])
def test_a_failed_step_with_attempts_left_is_tried_again_after_the_back_off(attempt):
    decision = decide(Run("r"), asked(errored("a"), attempt=attempt))

    assert {"a": StepStatus.RETRYING} == saved(decision)
    wait = timedelta(seconds=15 if attempt == 0 else 30)
    assert Retry(NOW + wait, attempt + 1, ERROR) == decision.then


@pytest.mark.parametrize("status", [None, StepStatus.RETRYING, StepStatus.PLANNED])
@pytest.mark.parametrize(("attempt", "final"), [(0, False), (1, False), (1, True)])
def test_a_failed_step_tells_how_often_and_since_when_it_was_tried(status, attempt, final):
    run = with_steps(a=status) if status else Run("r")
    op = replace(errored("a", final=final), started_at=NOW)

    [step] = [it for it in decide(run, asked(op, attempt=attempt)).effects if isinstance(it, SaveStep)]

    assert (attempt + 1, NOW) == (step.attempts, step.started_at)


@pytest.mark.parametrize("message", [asked(errored("a"), attempt=1), Threw(None, 1, ERROR, retryable=True)])
def test_a_failed_attempt_is_told_in_the_history_with_the_time_of_the_next(message):
    [record] = [it for it in decide(Run("r"), message).effects if isinstance(it, Record)]

    next_at = (NOW + timedelta(seconds=30)).isoformat()
    step = "a" if isinstance(message, Asked) else None
    assert ("attempt failed", step, 1) == (record.kind, record.step_id, record.attempt)
    assert {"error": json.loads(ERROR), "next_at": next_at} == json.loads(record.data)


@pytest.mark.parametrize(("counted", "pending"), [(True, 1), (False, 0)])
def test_a_planned_step_that_is_tried_again_counts_as_before(counted, pending):
    run = Run("r", pending=pending, open=1, step_count=1, steps={"a": StepState(StepStatus.PLANNED, counted)})

    decision = decide(run, asked(errored("a"), target="a"))

    assert StepState(StepStatus.PLANNED, counted) == decision.steps["a"]
    assert [counted] == [effect.counted for effect in decision.effects if isinstance(effect, SaveStep)]


@pytest.mark.parametrize(("most", "attempt", "again"), [(5, 3, True), (5, 4, False), (1, 0, False)])
def test_a_step_may_have_a_number_of_attempts_of_its_own(most, attempt, again):
    decision = decide(Run("r"), asked(replace(errored("a"), max_attempts=most), attempt=attempt))

    assert again is isinstance(decision.then, Retry)


@pytest.mark.parametrize("wait", [timedelta(), timedelta(seconds=7)])
@pytest.mark.parametrize("policy", [POLICY, replace(POLICY, retry_interval=timedelta(seconds=2))])
def test_a_wait_of_its_own_is_taken_as_it_is(policy, wait):
    step = asked(replace(errored("a"), backoff=wait))
    function = Threw(None, 0, ERROR, retryable=True, backoff=wait)

    assert [NOW + wait] * 2 == [decide(Run("r"), message, policy).then.at for message in (step, function)]


@pytest.mark.parametrize(("final", "attempt"), [(True, 0), (False, 2)])
def test_a_step_that_failed_for_good_is_memoised_as_an_error_and_the_function_may_catch_it(final, attempt):
    decision = decide(Run("r"), asked(errored("a", final=final), attempt=attempt))

    [step] = decision.effects
    assert (StepStatus.FAILED, f'{{"error":{ERROR}}}') == (step.status, step.memo)
    assert Continue() == decision.then


def test_the_apps_own_retry_after_wins_within_bounds():
    later = decide(Run("r"), asked(errored("a", after=timedelta(seconds=90)))).then
    too_soon = decide(Run("r"), asked(errored("a", after=timedelta(0)))).then

    assert [NOW + timedelta(seconds=90), NOW + timedelta(seconds=1)] == [later.at, too_soon.at]


def test_a_constant_retry_interval_replaces_the_table():
    policy = Policy(max_attempts=3, retry_interval=timedelta(seconds=2))

    assert NOW + timedelta(seconds=2) == decide(Run("r"), asked(errored("a")), policy).then.at


def test_a_function_error_is_tried_again_and_then_fails_the_run():
    again = decide(Run("r"), Threw(None, 0, ERROR, retryable=True))
    last = decide(Run("r"), Threw(None, 2, ERROR, retryable=True))
    never = decide(Run("r"), Threw(None, 0, ERROR, retryable=False))

    assert isinstance(again.then, Retry)
    assert [Status.FAILED, Status.FAILED] == [last.run.status, never.run.status]
    assert ERROR == next(effect.error for effect in last.effects if isinstance(effect, Finish))


def test_a_sleep_opens_a_timer_and_ends_the_job():
    decision = decide(Run("r"), asked(sleep("s")))

    assert {"s": StepStatus.SLEEPING} == saved(decision)
    assert AddWake("s", NOW + timedelta(seconds=10)) in decision.effects
    assert (End(), 1, 0) == (decision.then, decision.run.open, decision.run.pending)


def test_the_end_of_a_sleep_memoises_null_and_discovers():
    decision = decide(with_steps(s=StepStatus.SLEEPING), Woke("s"))

    step, discover = decision.effects
    assert ("null", StepStatus.COMPLETED, Discover()) == (step.memo, step.status, discover)
    assert (0, End()) == (decision.run.open, decision.then)


def test_a_group_of_planned_steps_is_called_one_by_one_and_joined_once():
    plan = decide(Run("r"), asked(planned("a"), planned("b"), planned("c")))
    run = Run("r", pending=plan.run.pending, open=plan.run.open, steps=plan.steps)

    assert [AddCall("a"), AddCall("b"), AddCall("c")] == [e for e in plan.effects if isinstance(e, AddCall)]
    discovers = 0
    for step in ("b", "a", "c"):
        decision = decide(run, asked(done(step), target=step))
        discovers += Discover() in decision.effects
        run = Run("r", pending=decision.run.pending, open=decision.run.open, steps={**run.steps, **decision.steps})
    assert (1, 0, 0) == (discovers, run.pending, run.open)


def test_a_race_discovers_after_each_of_its_steps():
    plan = decide(Run("r"), asked(planned("a", race=True), planned("b", race=True)))
    run = Run("r", pending=plan.run.pending, open=plan.run.open, steps=plan.steps)

    decision = decide(run, asked(done("a"), target="a"))
    assert Discover() in decision.effects
    assert (0, End()) == (run.pending, decision.then)


def test_a_sleep_beside_planned_steps_leaves_the_discovery_to_the_join():
    run = with_steps(pending=1, s=StepStatus.SLEEPING, a=StepStatus.PLANNED)

    assert Discover() not in decide(run, Woke("s")).effects
    assert Discover() in decide(run, asked(done("a"), target="a")).effects


def test_steps_reported_again_while_they_are_open_are_not_opened_twice():
    run = with_steps(pending=1, a=StepStatus.PLANNED, s=StepStatus.SLEEPING)

    decision = decide(run, asked(planned("a"), sleep("s")))

    assert ((), End()) == (decision.effects, decision.then)


def test_a_planned_step_with_attempts_left_stays_open():
    run = with_steps(pending=1, a=StepStatus.PLANNED)

    decision = decide(run, asked(errored("a"), target="a"))

    assert {"a": StepStatus.PLANNED} == saved(decision)
    assert (1, 1) == (decision.run.open, decision.run.pending)
    assert isinstance(decision.then, Retry)


@pytest.mark.parametrize("status", [StepStatus.PLANNED, StepStatus.RETRYING])
def test_a_step_that_has_a_row_is_changed_and_not_counted_again(status):
    decision = decide(with_steps(a=status), asked(done("a"), target="a"))

    step = decision.effects[0]
    assert (False, 1) == (step.fresh, decision.run.step_count)


def test_a_step_that_failed_on_the_spot_may_be_planned_later():
    run = with_steps(a=StepStatus.RETRYING)

    decision = decide(run, asked(planned("a"), planned("b")))

    assert {"a": StepStatus.PLANNED, "b": StepStatus.PLANNED} == saved(decision)
    assert (2, 2) == (decision.run.open, decision.run.pending)


@pytest.mark.parametrize("message", [asked(done("a", "2")), asked(errored("a")), asked(planned("a"))])
@pytest.mark.parametrize("status", [StepStatus.COMPLETED, StepStatus.FAILED])
def test_nothing_changes_a_step_that_is_done(status, message):
    run = with_steps(a=status, b=StepStatus.SLEEPING)

    assert () == decide(run, message).effects


@pytest.mark.parametrize("message", [asked(done("a", "2"), target="a"), asked(errored("a"), target="a")])
def test_a_late_answer_for_a_step_that_is_done_leads_nowhere(message):
    decision = decide(with_steps(a=StepStatus.COMPLETED), message)

    assert ((), End()) == (decision.effects, decision.then)


def test_a_late_error_of_a_planned_step_that_is_done_neither_retries_nor_fails_the_run():
    run = with_steps(a=StepStatus.COMPLETED, b=StepStatus.SLEEPING)

    for message in (Threw("a", 0, ERROR, retryable=True), Threw("a", 0, ERROR, retryable=False)):
        assert ((), End()) == (decide(run, message).effects, decide(run, message).then)


def test_a_call_of_a_planned_step_that_failed_is_an_attempt_like_any_other():
    run = with_steps(pending=1, a=StepStatus.PLANNED)

    assert isinstance(decide(run, Threw("a", 0, ERROR, retryable=True)).then, Retry)
    assert Status.FAILED is decide(run, Threw("a", 0, ERROR, retryable=False)).run.status


def test_a_second_wake_of_the_same_sleep_changes_nothing():
    for run in (with_steps(s=StepStatus.COMPLETED), Run("r")):
        decision = decide(run, Woke("s"))
        assert ((), End()) == (decision.effects, decision.then)


@pytest.mark.parametrize("status", [status for status in Status if status.final])
@pytest.mark.parametrize(
    "message",
    [Returned(None, 0, "1"), Threw(None, 0, ERROR, True), asked(done("a")), Woke("s"), Cancelled("late"), LATE],
)
def test_nothing_changes_a_run_that_is_over(status, message):
    run = Run("r", status=status, steps={"s": StepState(StepStatus.SLEEPING)}, open=1)

    assert Decision(run, (), End()) == decide(run, message)


def test_cancelling_finishes_without_a_result_and_keeps_the_reason():
    decision = decide(with_steps(s=StepStatus.SLEEPING), Cancelled("asked by ann"))

    record, finish = decision.effects
    assert ({"reason": "asked by ann"}, Finish(Status.CANCELLED)) == (json.loads(record.data), finish)


def test_an_empty_answer_while_others_are_open_ends_the_branch():
    assert End() == decide(with_steps(pending=1, a=StepStatus.PLANNED), asked()).then


def test_an_empty_answer_with_nothing_outstanding_is_tried_again_and_then_fails_the_run():
    again = decide(Run("r"), asked()).then

    assert (Retry, NOW + timedelta(seconds=15), 1) == (type(again), again.at, again.attempt)
    assert Status.FAILED is decide(Run("r"), asked(attempt=2)).run.status


def test_an_answer_about_other_steps_than_the_one_called_fails_the_run():
    run = with_steps(pending=1, a=StepStatus.PLANNED)

    assert Status.FAILED is decide(run, asked(target="a")).run.status


def test_an_opcode_that_is_not_served_fails_the_run_and_says_which():
    decision = decide(Run("r"), asked(Unserved("x", "X", "Teleport", "opcode Teleport of inngest-js v9 is not served")))

    assert "Teleport" in decision.effects[0].error


def test_more_steps_than_allowed_fail_the_run():
    decision = decide(Run("r", step_count=100), asked(done("one-more")))

    assert "InngestErrFunctionOverflowed" in decision.effects[-1].error


def test_as_many_steps_as_allowed_are_fine():
    steps = (StepDone("a", "a", "StepRun", "1"),)

    assert Continue() == decide(Run("r", step_count=99), asked(*steps)).then
    assert Status.RUNNING is decide(Run("r", step_count=99), Checkpointed(None, 0, steps)).run.status


def test_what_is_not_done_at_the_end_is_not_kept():
    decision = decide(Run("r"), Returned(None, 0, "7", ops=(errored("a"), sleep("s"))))

    assert (Finish(Status.COMPLETED, "7"),) == decision.effects


def test_steps_reported_with_the_end_are_kept():
    decision = decide(Run("r"), Returned(None, 0, "7", ops=(done("a"),)))

    assert {"a": StepStatus.COMPLETED} == saved(decision)
    assert Status.COMPLETED is decision.run.status


def test_done_and_opened_in_one_answer_waits_for_what_was_opened():
    decision = decide(Run("r"), asked(done("a"), sleep("s")))

    assert ({"a": StepStatus.COMPLETED, "s": StepStatus.SLEEPING}, End()) == (saved(decision), decision.then)
