"""Errors of steps and functions: attempts, back-off, and what an error may say."""

from __future__ import annotations

from datetime import timedelta

import inngest
import pytest

from tests.wire.harness import App, Server

pytestmark = pytest.mark.every_driver


@pytest.mark.each_broker
def test_a_failing_step_is_tried_again_by_the_back_off_table(server: Server, app: App):
    attempts = []

    @app.function("flaky", "loop/flaky")
    def flaky(ctx: inngest.ContextSync) -> object:
        def body() -> str:
            attempts.append(ctx.attempt)
            if len(attempts) < 3:
                raise ValueError(f"not yet {len(attempts)}")
            return "at last"

        return ctx.step.run("try", body)

    app.serve([flaky])
    [run] = server.runs_of(server.send("loop/flaky"))
    first = server.step(run["run_id"], "try", "Retrying")
    assert (1, "not yet 1") == (first["attempts"], first["error"]["message"])
    server.skip(timedelta(seconds=14))
    assert 1 == len(attempts)
    server.skip(timedelta(seconds=31))

    server.failed(run["run_id"], 2)
    server.skip(timedelta(seconds=61))
    ended = server.run_ended(run["run_id"])

    assert ("at last", [0, 1, 2]) == (ended["output"], attempts)
    [step] = ended["steps"]
    assert ("Completed", 3, None) == (step["status"], step["attempts"], step["error"])


def test_a_step_out_of_attempts_can_be_caught_by_the_function(server: Server, app: App):
    @app.function("catcher", "loop/catch", retries=0)
    def catcher(ctx: inngest.ContextSync) -> object:
        try:
            ctx.step.run("bad", _raise)
        except inngest.StepError as error:
            return f"caught {error.name}: {error.message}"
        return "not caught"

    app.serve([catcher])
    run = server.ended(server.send("loop/catch"))

    assert ("Completed", "caught ValueError: no") == (run["status"], run["output"])
    [step] = run["steps"]
    assert ("Failed", "no") == (step["status"], step["error"]["message"])


def test_a_step_out_of_attempts_that_nobody_catches_fails_the_run(server: Server, app: App):
    @app.function("thrower", "loop/throw", retries=0)
    def thrower(ctx: inngest.ContextSync) -> object:
        ctx.step.run("bad", _raise)
        return "never"

    app.serve([thrower])
    run = server.ended(server.send("loop/throw"))

    assert ("Failed", "no", "ValueError") == (run["status"], run["output"]["message"], run["output"]["name"])
    assert "_raise" in run["output"]["stack"]


def test_a_function_error_is_tried_again_with_the_memoised_steps(server: Server, app: App):
    ran = []

    @app.function("late", "loop/late")
    def late(ctx: inngest.ContextSync) -> object:
        ctx.step.run("once", lambda: ran.append("step"))
        if ctx.attempt == 0:
            raise ValueError("first attempt")
        return ctx.attempt

    app.serve([late])
    [run] = server.runs_of(server.send("loop/late"))
    server.failed(run["run_id"], 1)
    server.skip(timedelta(seconds=46))

    ended = server.run_ended(run["run_id"])
    assert (1, ["step"]) == (ended["output"], ran)


def test_retry_after_is_kept(server: Server, app: App):
    @app.function("later", "loop/later")
    def later(ctx: inngest.ContextSync) -> object:
        if ctx.attempt == 0:
            raise inngest.RetryAfterError("busy", timedelta(hours=1))
        return "done"

    app.serve([later])
    [run] = server.runs_of(server.send("loop/later"))
    server.failed(run["run_id"], 1)
    server.skip(timedelta(minutes=58))
    assert 1 == len(app.calls(run["run_id"]))
    server.skip(timedelta(minutes=3))

    assert "done" == server.run_ended(run["run_id"])["output"]


@pytest.mark.parametrize("in_step", [True, False])
def test_a_non_retriable_error_fails_the_run_at_once(server: Server, app: App, in_step: bool):
    def give_up() -> None:
        raise inngest.NonRetriableError("never again")

    @app.function("giver", f"loop/give-up-{in_step}")
    def giver(ctx: inngest.ContextSync) -> object:
        return ctx.step.run("bad", give_up) if in_step else give_up()

    app.serve([giver])
    run = server.ended(server.send(f"loop/give-up-{in_step}"))

    assert ("Failed", "never again") == (run["status"], run["output"]["message"])
    # The SDK ends the function itself; in process it is told of the step's failure, and may catch it.
    assert app.either(1, 2 if in_step else 1) == len(app.calls(run["run_id"]))


def test_the_last_attempt_fails_the_run_and_tells_what_happened(server: Server, app: App):
    @app.function("doomed", "loop/doomed", retries=1)
    def doomed(ctx: inngest.ContextSync) -> object:
        raise ValueError(f"attempt {ctx.attempt}")

    app.serve([doomed])
    [run] = server.runs_of(server.send("loop/doomed"))
    server.failed(run["run_id"], 1)
    server.skip(timedelta(seconds=46))

    ended = server.run_ended(run["run_id"])
    assert ("Failed", "attempt 1") == (ended["status"], ended["output"]["message"])


def _raise() -> None:
    raise ValueError("no")
