"""Limits of a run that configuration sets."""

from __future__ import annotations

import inngest
import pytest

from tests.wire.harness import App, Embedded
from tests.wire.inprocess import IN_PROCESS, LocalApp

pytestmark = pytest.mark.every_driver


def serve_app(server: Embedded, driver: str) -> App | LocalApp:
    if driver not in IN_PROCESS:
        return App(server.url, "limits")
    return LocalApp(server.embedded, "limits", awaited=driver == "awaited")


def test_a_run_that_memoises_more_than_it_may_fails_with_size_and_setting(driver: str):
    server = Embedded(max_state_bytes=100_000)
    app = serve_app(server, driver)
    ran: list[int] = []

    @app.function("hoard", "limits/hoard")
    def hoard(ctx: inngest.ContextSync) -> object:
        for number in range(5):
            ctx.step.run("part", lambda n=number: ran.append(n) or "x" * 40_000)
        return "never"

    app.serve([hoard])
    run = server.ended(server.send("limits/hoard"))
    app.stop()
    server.stop()

    assert ("Failed", "InngestErrStateOverflowed") == (run["status"], run["output"]["name"])
    assert "max_state_bytes" in run["output"]["message"]
    assert [0, 1, 2] == ran


def test_a_run_of_more_steps_than_it_may_have_fails_and_says_so(driver: str):
    server = Embedded(max_steps=3)
    app = serve_app(server, driver)

    @app.function("long", "limits/long")
    def long(ctx: inngest.ContextSync) -> object:
        for _ in range(5):
            ctx.step.run("part", lambda: 1)
        return "never"

    app.serve([long])
    run = server.ended(server.send("limits/long"))
    app.stop()
    server.stop()

    assert ("Failed", "InngestErrFunctionOverflowed") == (run["status"], run["output"]["name"])


def test_an_output_larger_than_an_answer_may_be_fails_the_run_at_once():
    server = Embedded()
    app = App(server.url, "limits")

    @app.function("large", "limits/large")
    def large(ctx: inngest.ContextSync) -> object:
        return "x" * (9 * 1024 * 1024)

    app.serve([large])
    run = server.ended(server.send("limits/large"))
    app.stop()
    server.stop()

    assert ("Failed", "AnswerTooLarge", 1) == (run["status"], run["output"]["name"], len(app.calls(run["run_id"])))
    assert "limit of 8388608 bytes" in run["output"]["message"]
