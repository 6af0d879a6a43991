"""Apps that go down, move and change while runs of theirs are open: a test per rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import inngest
import pytest

from tests.wire.harness import App, Server

HOUR = timedelta(hours=1)
Deploy = Callable[..., App]


@pytest.fixture
def deploy(server: Server, app: App) -> Iterator[Deploy]:
    """Serves the next version of the app, at another address."""
    deployed: list[App] = []

    def deploy(*declare: Callable[[App], inngest.Function]) -> App:
        made = type(app)(server.url, app.app_id, server.keys)
        made.serve([declared(made) for declared in declare])
        deployed.append(made)
        return made

    yield deploy
    for made in deployed:
        made.stop()


def napper(output: str, retries: int = 4) -> Callable[[App], inngest.Function]:
    """A function that sleeps for an hour between two steps."""

    def declared(app: App) -> inngest.Function:
        @app.function("nap", "changes/nap", retries=retries)
        def nap(ctx: inngest.ContextSync) -> object:
            before = ctx.step.run("before", lambda: output)
            ctx.step.sleep("nap", HOUR)
            return [before, ctx.step.run("after", lambda: output)]

        return nap

    return declared


def stays(app: App) -> inngest.Function:
    @app.function("stays", "changes/stays")
    def function(ctx: inngest.ContextSync) -> object:
        return None

    return function


def asleep(server: Server) -> str:
    [run] = server.runs_of(server.send("changes/nap"))
    server.step(run["run_id"], "nap", "Sleeping")
    return str(run["run_id"])


def test_an_app_that_is_down_uses_attempts_is_told_of_and_is_called_when_it_is_back(server: Server, app: App):
    @app.function("down", "changes/down")
    def down(ctx: inngest.ContextSync) -> object:
        return ctx.attempt

    app.serve([down])
    app.go_down()
    [run] = server.runs_of(server.send("changes/down"))
    server.failed(run["run_id"], 1)
    assert "the app could not be reached since" in server.run(run["run_id"])["waiting"]

    app.come_back()
    server.skip(timedelta(seconds=46))

    ended = server.run_ended(run["run_id"])
    assert ("Completed", 1) == (ended["status"], ended["output"])


def test_an_app_that_stays_down_fails_its_run_with_where_it_was_looked_for(server: Server, app: App):
    @app.function("gone", "changes/gone", retries=1)
    def gone(ctx: inngest.ContextSync) -> object:
        return None

    app.serve([gone])
    app.go_down()
    [run] = server.runs_of(server.send("changes/gone"))
    server.failed(run["run_id"], 1)
    server.skip(timedelta(seconds=46))

    ended = server.run_ended(run["run_id"])
    app.come_back()
    assert ("Failed", "AppUnreachable") == (ended["status"], ended["output"]["name"])
    assert f"127.0.0.1:{app.port}" in ended["output"]["message"]


def test_an_open_run_of_a_changed_function_goes_on_with_the_new_code_where_the_app_is_now(
    server: Server, app: App, deploy: Deploy
):
    app.serve([napper("old")(app)])
    run_id = asleep(server)

    new = deploy(napper("new", retries=1))
    server.skip(HOUR + timedelta(seconds=1))

    ended = server.run_ended(run_id)
    assert ("Completed", ["old", "new"]) == (ended["status"], ended["output"])
    assert (1, 1) == (len(app.calls(run_id)) - 1, len(new.calls(run_id)) - 1)


def test_a_run_keeps_the_version_it_began_with_and_later_runs_have_the_next(server: Server, app: App, deploy: Deploy):
    app.serve([napper("old")(app)])
    before = asleep(server)

    deploy(napper("new", retries=1))
    after = asleep(server)

    assert (1, 2) == tuple(server.run(it)["function_version"] for it in (before, after))


def test_an_open_run_of_a_removed_function_fails_with_the_reason(server: Server, app: App, deploy: Deploy):
    app.serve([napper("old")(app), stays(app)])
    run_id = asleep(server)

    deploy(stays)
    server.skip(HOUR + timedelta(seconds=1))

    ended = server.run_ended(run_id)
    assert ("Failed", "FunctionRemoved") == (ended["status"], ended["output"]["name"])
    assert f"{app.app_id}-nap" in ended["output"]["message"]


def test_a_removed_function_that_is_back_in_time_goes_on(server: Server, app: App, deploy: Deploy):
    app.serve([napper("old")(app), stays(app)])
    run_id = asleep(server)

    deploy(stays)
    deploy(napper("new"), stays)
    server.skip(HOUR + timedelta(seconds=1))

    assert ["old", "new"] == server.run_ended(run_id)["output"]


def test_an_open_run_of_an_app_taken_out_of_service_fails_with_the_reason(server: Server, app: App):
    app.serve([napper("old")(app)])
    run_id = asleep(server)

    assert 200 == server.request("DELETE", f"/fn/remove?url={app.url}")[0]
    server.skip(HOUR + timedelta(seconds=1))

    ended = server.run_ended(run_id)
    assert ("Failed", "FunctionRemoved") == (ended["status"], ended["output"]["name"])
