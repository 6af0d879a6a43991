"""Steps in parallel, with the official Python SDK over real HTTP: a test per rule."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import inngest
import pytest

from tests.wire.harness import DEADLINE, App, Server

pytestmark = pytest.mark.every_driver


def test_steps_of_a_group_run_at_the_same_time_once_each_and_their_results_are_in_order(server: Server, app: App):
    together, ran = threading.Barrier(5), Counter[int]()

    def body(number: int) -> int:
        ran[number] += 1
        together.wait(DEADLINE)  # breaks unless all five are here at once
        return number * number

    @app.function("group", "parallel/group")
    def group(ctx: inngest.ContextSync) -> object:
        return ctx.group.parallel(tuple(lambda n=n: ctx.step.run(f"square-{n}", body, n) for n in range(5)))

    app.serve([group])
    run = server.ended(server.send("parallel/group"))

    assert [0, 1, 4, 9, 16] == run["output"]
    assert dict.fromkeys(range(5), 1) == ran


def test_what_follows_a_group_runs_once(server: Server, app: App):
    after = Counter[str]()

    @app.function("joined", "parallel/joined")
    def joined(ctx: inngest.ContextSync) -> object:
        found = ctx.group.parallel(tuple(lambda n=n: ctx.step.run(f"one-{n}", lambda: n) for n in range(10)))
        return ctx.step.run("sum", lambda: (after.update(["sum"]), sum(found))[1])

    app.serve([joined])

    assert 45 == server.ended(server.send("parallel/joined"))["output"]
    assert {"sum": 1} == after


@pytest.mark.each_broker
def test_a_step_of_a_group_that_fails_is_tried_again_and_the_others_are_not(server: Server, app: App):
    ran = Counter[str]()

    def shaky() -> str:
        ran["shaky"] += 1
        if ran["shaky"] == 1:
            raise ValueError("not yet")
        return "well"

    def steady() -> str:
        ran["steady"] += 1
        return "well"

    @app.function("shaky", "parallel/shaky")
    def function(ctx: inngest.ContextSync) -> object:
        steps = {"shaky": shaky, "steady": steady}
        return ctx.group.parallel(tuple(lambda name=name: ctx.step.run(name, steps[name]) for name in steps))

    app.serve([function])
    [run] = server.runs_of(server.send("parallel/shaky"))
    server.failed(run["run_id"], 1)
    server.step(run["run_id"], "steady", "Completed")
    server.skip(timedelta(seconds=46))

    assert ["well", "well"] == server.run_ended(run["run_id"])["output"]
    assert {"shaky": 2, "steady": 1} == ran


def test_a_step_of_a_group_out_of_attempts_can_be_caught_when_all_are_done(server: Server, app: App):
    def fails() -> None:
        raise ValueError("no")

    @app.function("caught", "parallel/caught", retries=0)
    def caught(ctx: inngest.ContextSync) -> object:
        def tries() -> str:
            try:
                ctx.step.run("fails", fails)
            except inngest.StepError as error:
                return error.message
            return "never"

        return ctx.group.parallel((tries, lambda: ctx.step.run("works", lambda: "yes")))

    app.serve([caught])

    assert ["no", "yes"] == server.ended(server.send("parallel/caught"))["output"]


def test_in_a_race_the_function_goes_on_after_the_first(server: Server, app: App):
    leave = threading.Event()

    @app.function("race", "parallel/race")
    def race(ctx: inngest.ContextSync) -> object:
        def fast() -> object:
            first = ctx.step.run("fast", lambda: "fast")
            return ctx.step.run("then", lambda: f"{first}, then")

        def slow() -> object:
            return ctx.step.run("slow", lambda: leave.wait(DEADLINE))

        return ctx.group.parallel((fast, slow), parallel_mode=inngest.ParallelMode.RACE)

    app.serve([race])
    [run] = server.runs_of(server.send("parallel/race"))
    server.step(run["run_id"], "then", "Completed")
    before = server.run(run["run_id"])["status"]
    leave.set()

    assert "Running" == before
    assert ["fast, then", True] == server.run_ended(run["run_id"])["output"]
