"""Checkpointing, with the official TypeScript SDK over real HTTP: a test per rule."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.wire.harness import Server, until
from tests.wire_js.harness import NodeApp

pytestmark = pytest.mark.timeout(300)

STEP = {"op": "StepRun", "id": "a" * 40, "displayName": "made by hand", "data": 1}


@pytest.fixture(scope="module")
def app(make_app: Callable[..., NodeApp]) -> NodeApp:
    return make_app()


def held_at_gate(server: Server, app: NodeApp) -> str:
    """Start a run that has checkpointed its first step and waits within its second; returns its id."""
    [run] = server.runs_of(app.send("gated"))
    run_id: str = run["run_id"]
    until(
        lambda: app.ran(run_id) == ["one", "two"],
        "the second step",
        lambda: json.dumps([server.run(run_id), *app.told[-8:]], indent=1),
    )
    return run_id


def checkpoint(server: Server, run_id: str, qi_id: str, *steps: dict[str, Any]) -> tuple[int, Any]:
    """Send a checkpoint made by hand."""
    return server.request("POST", f"/v1/checkpoint/{run_id}/async", {"qi_id": qi_id, "steps": steps})


def test_a_chain_of_five_steps_takes_one_call_and_five_checkpoints(server: Server, app: NodeApp):
    run = server.ended(app.send("chain"))

    names = ["first", "second", "third", "fourth", "fifth"]
    assert ("Completed", 5, names) == (run["status"], run["output"], app.ran(run["run_id"]))
    assert (1, [200] * 5) == (len(app.calls(run["run_id"])), [it.status for it in app.checkpoints(run["run_id"])])
    assert names == [step["name"] for step in run["steps"]]
    assert all(step["started_at"] <= step["ended_at"] for step in run["steps"])


def test_an_app_that_turns_checkpointing_off_is_called_for_each_step(server: Server, make_app: Callable[..., NodeApp]):
    app = make_app(checkpointing=False)

    run = server.ended(app.send("chain"))

    assert ("Completed", 6, []) == (run["status"], len(app.calls(run["run_id"])), app.checkpoints(run["run_id"]))


def test_a_call_for_one_step_does_not_invite_checkpoints(server: Server, app: NodeApp):
    run = server.ended(app.send("parallel"))

    invited = {(call.query["stepId"] == "step", "qi_id" in call.body["ctx"]) for call in app.calls(run["run_id"])}
    assert {(True, True), (False, False)} == invited


def test_the_call_after_a_sleep_knows_the_steps_checkpointed_before_it(server: Server, app: NodeApp):
    [run] = server.runs_of(app.send("sleeper"))
    server.step(run["run_id"], "nap", "Sleeping")

    app.skip(timedelta(days=2, seconds=1))

    ended = server.run_ended(run["run_id"])
    assert ("woken", ["before", "before too", "after"]) == (ended["output"], app.ran(run["run_id"]))
    assert [0, 3] == [len(call.body["ctx"]["stack"]["stack"]) for call in app.calls(run["run_id"])]


def test_a_step_may_fail_after_steps_that_were_checkpointed(server: Server, app: NodeApp):
    run = server.ended(app.send("caught"))

    assert ("Completed", "TypeError: broken") == (run["status"], run["output"])
    assert ([0, 2], 2) == (
        [len(call.body["steps"]) for call in app.calls(run["run_id"])],
        len(app.checkpoints(run["run_id"])),
    )


def test_attempts_are_counted_anew_after_progress(server: Server, app: NodeApp):
    [run] = server.runs_of(app.send("progress"))
    for attempts in (1, 2):
        server.failed(run["run_id"], attempts)
        app.skip(timedelta(seconds=46))

    assert "Completed" == server.run_ended(run["run_id"])["status"]
    attempts = [call.body["ctx"]["attempt"] for call in app.calls(run["run_id"])]
    assert [0, 1, 0, 1, 0] == attempts


def test_what_was_checkpointed_outlives_a_call_that_broke_off(server: Server, app: NodeApp):
    run_id = held_at_gate(server, app)
    server.step(run_id, "one", "Completed")

    app.stop()
    server.failed(run_id, 1)
    app.start()
    app.open(run_id)
    app.skip(timedelta(seconds=46))

    ended = server.run_ended(run_id)
    assert ("done", ["two", "three"]) == (ended["output"], app.ran(run_id))
    [call, *_] = app.calls(run_id)
    assert (1, ["one"]) == (call.body["ctx"]["attempt"], [step["data"] for step in call.body["steps"].values()])


def test_a_cancelled_run_stops_before_its_next_step(server: Server, app: NodeApp):
    run_id = held_at_gate(server, app)

    assert 200 == server.request("DELETE", f"/v1/runs/{run_id}")[0]
    app.open(run_id)

    until(lambda: app.answers(run_id), "the end of the call")
    assert [200, 409] == [it.status for it in app.checkpoints(run_id)]
    run = server.run(run_id)
    assert ("Cancelled", ["one"]) == (run["status"], [step["name"] for step in run["steps"]])
    assert ["one", "two"] == app.ran(run_id)


def test_a_checkpoint_whose_answer_is_lost_is_saved_once(server: Server, app: NodeApp):
    run_id = held_at_gate(server, app)

    app.lose(2)
    app.open(run_id)

    ended = server.run_ended(run_id)
    assert ("done", ["one", "two", "three"]) == (ended["output"], [step["name"] for step in ended["steps"]])
    assert (["one", "two", "three"], [200] * 5) == (app.ran(run_id), [it.status for it in app.checkpoints(run_id)])


def test_steps_that_come_with_the_answer_although_they_were_saved_are_progress(server: Server, app: NodeApp):
    run_id = held_at_gate(server, app)

    app.lose(5)  # As often as the SDK tries.
    app.open(run_id)

    ended = server.run_ended(run_id)
    assert ("done", ["one", "two", "three"]) == (ended["output"], app.ran(run_id))
    assert ([], 2) == (ended["history"], len(app.calls(run_id)))


def test_only_the_present_call_may_checkpoint(server: Server, app: NodeApp):
    run_id = held_at_gate(server, app)
    dispatch = app.calls(run_id)[0].body["ctx"]["qi_id"]
    job, _, generation = dispatch.partition("-")
    other = server.runs_of(app.send("sleeper"))[0]["run_id"]

    assert 409 == checkpoint(server, run_id, f"{job}-{int(generation) - 1}", STEP)[0]
    assert 409 == checkpoint(server, run_id, f"{job}-{int(generation) + 1}", STEP)[0]
    assert 409 == checkpoint(server, run_id, "999999-1", STEP)[0]
    assert 409 == checkpoint(server, other, dispatch, STEP)[0]
    assert ["one"] == [step["name"] for step in server.run(run_id)["steps"]]

    assert (200, None) == checkpoint(server, run_id, dispatch, STEP)
    assert (200, None) == checkpoint(server, run_id, dispatch, STEP | {"data": 2})
    told = [(step["name"], step["output"]) for step in server.run(run_id)["steps"]]
    assert [("one", "one"), ("made by hand", 1)] == told


def test_a_checkpoint_is_taken_whole_or_not_at_all(server: Server, app: NodeApp):
    run_id = held_at_gate(server, app)
    dispatch = app.calls(run_id)[0].body["ctx"]["qi_id"]

    for opcode in ("Sleep", "WaitForEvent", "InvokeFunction", "StepError", "StepFailed", "RunComplete", "Nonsense"):
        status, answer = checkpoint(server, run_id, dispatch, STEP, STEP | {"op": opcode, "id": "b" * 40})
        assert (400, True) == (status, opcode in answer["error"])
    assert 400 == checkpoint(server, run_id, dispatch, STEP | {"id": ""})[0]
    assert 400 == checkpoint(server, run_id, "nonsense", STEP)[0]
    assert 413 == checkpoint(server, run_id, dispatch, STEP | {"data": "x" * (4 * 1024 * 1024)})[0]
    assert ["one"] == [step["name"] for step in server.run(run_id)["steps"]]


def test_a_step_that_begins_is_taken_and_not_stored(server: Server, app: NodeApp):
    run_id = held_at_gate(server, app)
    dispatch = app.calls(run_id)[0].body["ctx"]["qi_id"]

    assert (200, None) == checkpoint(server, run_id, dispatch, STEP | {"op": "StepPlanned"})

    assert ["one"] == [step["name"] for step in server.run(run_id)["steps"]]


def test_a_checkpoint_of_an_unknown_run_is_refused(server: Server):
    status, answer = checkpoint(server, "01J00000000000000000000000", "1-1", STEP)

    assert (400, 400) == (status, answer["status"])


def test_an_app_that_ran_too_long_is_called_again_for_the_next_step(server: Server, make_app: Callable[..., NodeApp]):
    app = make_app(checkpointing={"maxRuntime": "1s"})
    run_id = held_at_gate(server, app)

    time.sleep(1.2)  # So long the SDK lets a call run.
    app.open(run_id)

    ended = server.run_ended(run_id)
    assert ("done", ["one", "two", "three"]) == (ended["output"], app.ran(run_id))
    assert len(app.calls(run_id)) > 1


def test_steps_may_be_checkpointed_several_at_a_time(server: Server, make_app: Callable[..., NodeApp]):
    app = make_app(checkpointing={"bufferedSteps": 4})

    run = server.ended(app.send("loop", {"rounds": 10}))

    assert (45, ["round"] * 10) == (run["output"], app.ran(run["run_id"]))
    assert [4, 4] == [len(it.body["steps"]) for it in app.checkpoints(run["run_id"])]
    assert list(range(10)) == [step["output"] for step in run["steps"]]
