"""The run loop, with the official TypeScript SDK over real HTTP: a test per rule.

Each rule holds with checkpointing and without it; what is different with it is in `test_checkpoint.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.wire.harness import Server, until
from tests.wire_js.harness import NodeApp

# The first test may have to wait for the SDK to be installed.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=[False, None], ids=["plain", "checkpointing"])
def app(request: pytest.FixtureRequest, make_app: Callable[..., NodeApp]) -> NodeApp:
    return make_app(checkpointing=request.param)


def told(run: dict[str, Any]) -> list[tuple[str, str, int]]:
    """What the server tells of a run's steps."""
    return [(step["name"], step["status"], step["attempts"]) for step in run["steps"]]


def test_a_function_without_steps_runs_once_and_its_output_is_kept(server: Server, app: NodeApp):
    run = server.ended(app.send("plain", {"who": "Zoë"}, id="plain-1"))

    assert ("Completed", {"hello": "Zoë", "id": "plain-1"}) == (run["status"], run["output"])
    assert 1 == len(app.calls(run["run_id"]))


def test_a_function_that_returns_undefined_has_a_null_for_output(server: Server, app: NodeApp):
    run = server.ended(app.send("nothing"))

    assert ("Completed", None) == (run["status"], run["output"])


def test_a_step_that_returns_undefined_is_memoised_like_any_other(server: Server, app: NodeApp):
    run = server.ended(app.send("steps_of_nothing"))

    assert ("Completed", [("nothing", "Completed", 1)]) == (run["status"], told(run))
    assert ["nothing"] == app.ran(run["run_id"])


def test_steps_run_once_each_and_are_memoised_in_order(server: Server, app: NodeApp):
    run = server.ended(app.send("chain"))

    names = ["first", "second", "third", "fourth", "fifth"]
    assert ("Completed", 5, names) == (run["status"], run["output"], app.ran(run["run_id"]))
    assert [(name, "Completed", 1) for name in names] == told(run)
    assert [1, 2, 3, 4, 5] == [step["output"] for step in run["steps"]]


def test_a_loop_with_one_id_runs_each_round_once(server: Server, app: NodeApp):
    run = server.ended(app.send("loop", {"rounds": 20}))

    assert (sum(range(20)), ["round"] * 20) == (run["output"], app.ran(run["run_id"]))
    assert list(range(20)) == [step["output"] for step in run["steps"]]


def test_a_sleep_takes_its_time(server: Server, app: NodeApp):
    [run] = server.runs_of(app.send("sleeper"))
    server.step(run["run_id"], "nap", "Sleeping")

    app.skip(timedelta(days=2, seconds=1))

    ended = server.run_ended(run["run_id"])
    assert ("woken", ["before", "before too", "after"]) == (ended["output"], app.ran(run["run_id"]))
    assert ["before", "before too", "nap", "after"] == [step["name"] for step in ended["steps"]]


def test_a_failing_step_is_tried_again_by_the_back_off_table(server: Server, app: NodeApp):
    [run] = server.runs_of(app.send("flaky_step"))
    first = server.step(run["run_id"], "try", "Retrying")
    assert (1, "not yet 0") == (first["attempts"], first["error"]["message"])

    app.skip(timedelta(seconds=46))
    server.failed(run["run_id"], 2)
    app.skip(timedelta(seconds=61))

    ended = server.run_ended(run["run_id"])
    assert ("attempt 2", ["try"] * 3) == (ended["output"], app.ran(run["run_id"]))
    assert [("try", "Completed", 3)] == told(ended)
    answers = app.answers(run["run_id"])
    assert [206, 206] == [answer.status for answer in answers[:2]]
    assert ["false", "false"] == [answer.headers["x-inngest-no-retry"] for answer in answers[:2]]


def test_a_failing_function_is_tried_again_with_its_steps_memoised(server: Server, app: NodeApp):
    [run] = server.runs_of(app.send("flaky_function"))
    server.failed(run["run_id"], 1)

    app.skip(timedelta(seconds=46))

    ended = server.run_ended(run["run_id"])
    assert ("attempt 1", ["once", "twice"]) == (ended["output"], app.ran(run["run_id"]))
    [failed] = [answer for answer in app.answers(run["run_id"]) if answer.status == 500]
    assert ("false", "not yet") == (failed.headers["x-inngest-no-retry"], failed.body["message"])


def test_each_step_has_attempts_of_its_own(server: Server, app: NodeApp):
    [run] = server.runs_of(app.send("progress"))
    server.failed(run["run_id"], 1)
    app.skip(timedelta(seconds=46))
    server.failed(run["run_id"], 2)
    app.skip(timedelta(seconds=46))

    ended = server.run_ended(run["run_id"])
    assert ("Completed", [1, 1]) == (ended["status"], ended["output"])
    assert ["one", "two", "two", "three", "three", "four"] == app.ran(run["run_id"])
    assert [("one", 1), ("two", 2), ("three", 2), ("four", 1)] == [(it[0], it[2]) for it in told(ended)]


def test_a_step_out_of_attempts_can_be_caught_by_the_function(server: Server, app: NodeApp):
    run = server.ended(app.send("caught"))

    assert ("Completed", "TypeError: broken") == (run["status"], run["output"])
    assert [("good", "Completed", 1), ("bad", "Failed", 1), ("mend", "Completed", 1)] == told(run)
    assert ["good", "bad", "mend"] == app.ran(run["run_id"])


def test_a_step_out_of_attempts_that_nobody_catches_ends_the_run(server: Server, app: NodeApp):
    run = server.ended(app.send("uncaught"))

    assert ("Failed", "TypeError", "broken") == (run["status"], run["output"]["name"], run["output"]["message"])
    assert [("bad", "Failed", 1)] == told(run)


def test_a_non_retriable_error_ends_the_run_at_once(server: Server, app: NodeApp):
    run = server.ended(app.send("final"))

    assert ("Failed", "never again") == (run["status"], run["output"]["message"])
    [answer] = app.answers(run["run_id"])
    assert (400, "true") == (answer.status, answer.headers["x-inngest-no-retry"])


def test_a_non_retriable_error_in_a_step_fails_the_step_at_once(server: Server, app: NodeApp):
    run = server.ended(app.send("final_step"))

    assert ("Failed", "never again") == (run["status"], run["output"]["message"])
    assert [("good", "Completed", 1), ("bad", "Failed", 1)] == told(run)
    assert ["good", "bad"] == app.ran(run["run_id"])


@pytest.mark.parametrize("name", ["later", "later_step"])
def test_an_error_may_say_when_to_try_again(server: Server, app: NodeApp, name: str):
    [run] = server.runs_of(app.send(name))
    server.failed(run["run_id"], 1)
    app.skip(timedelta(seconds=80))
    assert "Running" == server.run(run["run_id"])["status"]

    app.skip(timedelta(seconds=11))

    assert 1 == server.run_ended(run["run_id"])["output"]
    assert "90" == app.answers(run["run_id"])[0].headers["retry-after"]


def test_parallel_steps_run_once_each_and_the_function_goes_on_after_the_last(server: Server, app: NodeApp):
    run = server.ended(app.send("parallel"))

    assert ("Completed", "a+b+c!") == (run["status"], run["output"])
    ran = app.ran(run["run_id"])
    assert ("before", ["a", "b", "c"], ["after", "end"]) == (ran[0], sorted(ran[1:4]), ran[4:])
    targets = Counter(call.query["stepId"] for call in app.calls(run["run_id"]))
    assert [1, 1, 1] == [count for target, count in targets.items() if target != "step"]


def test_a_parallel_step_that_fails_leaves_the_others_their_results(server: Server, app: NodeApp):
    run = server.ended(app.send("parallel_one_fails"))

    assert ("Completed", ["a", "b broke", "c"]) == (run["status"], run["output"])
    assert {"a": "Completed", "b": "Failed", "c": "Completed"} == {it["name"]: it["status"] for it in run["steps"]}
    assert ["a", "b", "c"] == sorted(app.ran(run["run_id"]))


def test_parallel_chains_each_go_on_by_themselves(server: Server, app: NodeApp):
    run = server.ended(app.send("parallel_chains"))

    assert ["left 1, left 2", "right 1, right 2"] == run["output"]
    assert ["left 1", "left 2", "right 1", "right 2"] == sorted(app.ran(run["run_id"]))


def test_a_race_is_won_by_the_first_step_done_and_the_sdk_ends_it_after_the_last(server: Server, app: NodeApp):
    [run] = server.runs_of(app.send("race"))
    server.step(run["run_id"], "prize", "Completed")
    assert "Running" == server.run(run["run_id"])["status"]

    app.open(run["run_id"])

    ended = server.run_ended(run["run_id"])
    assert ("Completed", "quick wins") == (ended["status"], ended["output"])
    assert ["prize", "quick", "slow"] == sorted(app.ran(run["run_id"]))


def test_a_step_sends_an_event_that_starts_another_run(server: Server, app: NodeApp):
    run = server.ended(app.send("sender"))

    [event_id] = run["output"]
    started = server.ended(event_id)
    assert ("Completed", 5) == (started["status"], started["output"])
    assert [("tell", "Completed", 1)] == told(run)


def test_a_megabyte_of_output_comes_through_whole(server: Server, app: NodeApp):
    run = server.ended(app.send("large"))

    assert "ü" * 1_000_000 + "1000000" == run["output"]


def test_a_state_too_large_for_a_call_is_fetched_by_the_sdk(server: Server, app: NodeApp):
    [run] = server.runs_of(app.send("large_state"))
    server.step(run["run_id"], "nap", "Sleeping")

    app.skip(timedelta(days=1, seconds=1))

    ended = server.run_ended(run["run_id"])
    assert ("Completed", 5_000_000) == (ended["status"], ended["output"])
    assert ["a", "b", "c", "d", "e"] == app.ran(run["run_id"])
    assert app.calls(run["run_id"])[-1].body["ctx"]["use_api"] is True


def test_an_app_started_again_goes_on_where_it_was(server: Server, app: NodeApp):
    [run] = server.runs_of(app.send("gated"))
    until(lambda: app.ran(run["run_id"]) == ["one", "two"], "the second step")
    app.stop()
    server.failed(run["run_id"], 1)

    app.start()
    app.open(run["run_id"])
    app.skip(timedelta(seconds=46))

    ended = server.run_ended(run["run_id"])
    assert ("done", ["two", "three"]) == (ended["output"], app.ran(run["run_id"]))
