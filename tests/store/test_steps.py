"""Steps: numbered in the order of their outcomes, and what an update does not tell stays as it was."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from orchestrator.core.effect import SaveStep, StepStatus
from orchestrator.core.run import StepState
from orchestrator.ids import new_ulid
from orchestrator.store import steps
from orchestrator.store.database import Database
from orchestrator.store.steps import Memo, StoredStep
from tests.store.factories import NOW, a_step, after, content

RUN = new_ulid()


def test_a_step_is_read_as_it_was_written(database: Database) -> None:
    saved = SaveStep(
        "s", "charge", "StepRun", StepStatus.FAILED, '{"error":{}}', "{}", 3, "[1]", after(-2), after(-1), True, True
    )

    with database.write() as conn:
        steps.save(conn, RUN, [saved], NOW)

        expected = StoredStep(
            "s", 1, "charge", "StepRun", StepStatus.FAILED, 3, '{"error":{}}', "[1]", "{}", after(-2), after(-1), NOW
        )
        assert [expected] == steps.of_run(conn, RUN)


def test_outcomes_are_numbered_in_the_order_of_their_storing(database: Database) -> None:
    with database.write() as conn:
        steps.save(conn, RUN, [a_step("planned", StepStatus.PLANNED), a_step("b"), a_step("a")], NOW)
        steps.save(conn, RUN, [a_step("c"), a_step("planned", fresh=False), a_step("d")], NOW)
        steps.save(conn, RUN, [a_step("open", StepStatus.SLEEPING)], NOW)
        steps.save(conn, new_ulid(), [a_step("of another run")], NOW)

        found = [(memo.seq, memo.id) for memo in steps.memos(conn, RUN) if memo.seq is not None]

    assert [(1, "b"), (2, "a"), (3, "c"), (4, "planned"), (5, "d")] == found


def test_memos_come_with_their_states_and_texts(database: Database) -> None:
    with database.write() as conn:
        steps.save(conn, RUN, [a_step("wait", StepStatus.PLANNED, counted=True), a_step("done")], NOW)

        found = {memo.id: memo for memo in steps.memos(conn, RUN)}

    waiting = Memo("wait", StepState(StepStatus.PLANNED, counted=True), None, None)
    done = Memo("done", StepState(StepStatus.COMPLETED), '{"data":"done"}', 1)
    assert {"wait": waiting, "done": done} == found


def test_steps_without_an_outcome_come_after_the_others(database: Database) -> None:
    with database.write() as conn:
        steps.save(conn, RUN, [a_step("a", StepStatus.PLANNED), a_step("z"), a_step("b", StepStatus.RETRYING)], NOW)

        memos = [memo.id for memo in steps.memos(conn, RUN)]
        told = [step.id for step in steps.of_run(conn, RUN)]

    assert [["z", "a", "b"]] * 2 == [memos, told]


def test_an_outcome_keeps_the_name_the_op_the_input_and_the_begin_it_does_not_tell(database: Database) -> None:
    planned = a_step("s", StepStatus.PLANNED, name="charge", op="StepPlanned", input="[1]", started_at=after(-9))
    sleeping = a_step("t", StepStatus.SLEEPING, name="rest", op="Sleep", wake_at=after(9), started_at=after(-8))
    outcomes = [
        a_step("s", name="", op="", attempts=1, fresh=False),
        SaveStep("t", "", "", StepStatus.COMPLETED, memo="null"),
    ]

    with database.write() as conn:
        steps.save(conn, RUN, [planned, sleeping], NOW)
        steps.save(conn, RUN, outcomes, after(1))
        charge, rest = steps.of_run(conn, RUN)

    assert ("charge", "StepPlanned", "[1]", after(-9)) == (charge.name, charge.op, charge.input, charge.started_at)
    assert ("rest", "Sleep", after(-8), after(9)) == (rest.name, rest.op, rest.started_at, rest.wake_at)
    assert [(StepStatus.COMPLETED, after(1))] * 2 == [(step.status, step.ended_at) for step in (charge, rest)]


def test_an_outcome_replaces_what_it_tells(database: Database) -> None:
    outcome = a_step("s", attempts=2, input="[2]", started_at=after(-1), fresh=False)

    with database.write() as conn:
        steps.save(conn, RUN, [a_step("s", StepStatus.PLANNED, input="[1]", started_at=after(-9))], NOW)
        steps.save(conn, RUN, [outcome], NOW)
        [step] = steps.of_run(conn, RUN)

    assert (2, "[2]", after(-1)) == (step.attempts, step.input, step.started_at)


def test_the_error_of_the_last_attempt_goes_with_success(database: Database) -> None:
    with database.write() as conn:
        steps.save(conn, RUN, [a_step("s", StepStatus.RETRYING, error='{"name":"E"}', attempts=1)], NOW)
        [failing] = steps.of_run(conn, RUN)
        steps.save(conn, RUN, [a_step("s", attempts=2, fresh=False)], NOW)
        [done] = steps.of_run(conn, RUN)

    assert [('{"name":"E"}', 1), (None, 2)] == [(step.error, step.attempts) for step in (failing, done)]
    assert (None, NOW) == (failing.ended_at, done.ended_at)


def test_a_step_said_to_be_fresh_that_has_a_row_is_refused_with_all_that_came_with_it(database: Database) -> None:
    with database.write() as conn:
        steps.save(conn, RUN, [a_step("s", memo='"first"')], NOW)
        before = content(conn)

    with pytest.raises(IntegrityError), database.write() as conn:
        steps.save(conn, RUN, [a_step("other"), a_step("s", memo='"second"')], NOW)

    with database.read() as conn:
        assert before == content(conn)


def test_names_and_ops_too_long_for_their_columns_are_cut(database: Database) -> None:
    with database.write() as conn:
        steps.save(conn, RUN, [a_step("s", name="n" * 2_000, op="o" * 200)], NOW)
        [step] = steps.of_run(conn, RUN)

    assert (1_024, 32) == (len(step.name), len(step.op))


def test_a_memo_is_kept_to_the_byte(database: Database) -> None:
    memo = '{"data":{"big":9007199254740993,"nul":"\\u0000","half":"\\ud800","ü":"😀", "sp" : 1.0e+2 }}'

    with database.write() as conn:
        steps.save(conn, RUN, [a_step("s", memo=memo)], NOW)

        assert [memo] == [found.memo for found in steps.memos(conn, RUN)]


def test_states_are_of_the_steps_asked_for_that_exist(database: Database) -> None:
    with database.write() as conn:
        steps.save(conn, RUN, [a_step("a"), a_step("b", StepStatus.WAITING, counted=True), a_step("c")], NOW)

        expected = {"a": StepState(StepStatus.COMPLETED), "b": StepState(StepStatus.WAITING, counted=True)}
        assert expected == steps.states(conn, RUN, ["a", "b", "unknown"])
        assert {} == steps.states(conn, RUN, [])
        assert {} == steps.states(conn, new_ulid(), ["a"])


def test_the_last_number_is_that_of_the_outcome_memoised_last(database: Database) -> None:
    with database.write() as conn:
        steps.save(conn, RUN, [a_step(status.value, status) for status in StepStatus], NOW)

        assert [2, 0] == [steps.last_seq(conn, RUN), steps.last_seq(conn, new_ulid())]


def test_a_memo_as_it_was_has_no_outcome_that_came_later(database: Database) -> None:
    with database.write() as conn:
        steps.save(conn, RUN, [a_step("b"), a_step("a"), a_step("open", StepStatus.PLANNED)], NOW)
        steps.save(conn, RUN, [a_step("later")], NOW)

        assert ["b", "a"] == list(steps.memo_until(conn, RUN, 2))
        assert {} == steps.memo_until(conn, RUN, 0)
