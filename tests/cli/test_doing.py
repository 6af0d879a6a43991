"""`invoke`, `sync`, `rerun` and `bulk`: what is asked of a server, and what is told of what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from orchestrator.cli import bulk, invoke
from orchestrator.cli.exits import Exit
from tests.cli.conftest import FakeServer

Run = Callable[..., Result]
ORDER: dict[str, Any] = {
    "id": "01J8R",
    "kind": "rerun",
    "status": "Running",
    "total": 7,
    "done": 2,
    "failed": 0,
    "error": None,
    "created_at": "2026-11-21T12:00:01Z",
    "actor": "api",
}
OVER = ORDER | {"status": "Completed", "done": 6, "failed": 1, "error": "its events are gone"}


def test_a_function_is_invoked_by_its_slug(orchestrator: Run, server: FakeServer):
    server.answers["POST /invoke/shop-import"] = (200, {"data": {"run_id": "01J8R"}})

    result = orchestrator("invoke", "shop-import", '{"n": 7}', "--key", "k", "--server", server.url)

    assert (Exit.OK, "started 01J8R; orchestrator run 01J8R\n") == (result.exit_code, result.stdout)
    assert {"data": {"n": 7}, "idempotencyKey": "k"} == server.asked[0].body


def test_an_invoked_run_is_waited_for_and_its_end_is_the_exit_code(orchestrator: Run, server: FakeServer):
    server.answers["POST /invoke/shop-import"] = (200, {"data": {"run_id": "01J8R"}})
    server.answers["GET /v1/runs/01J8R"] = (200, {"data": {"run_id": "01J8R", "status": "Failed", "output": "no"}})

    result = orchestrator("invoke", "shop-import", "--wait", "--json", "--server", server.url)

    assert (Exit.RUN_FAILED, "no") == (result.exit_code, json.loads(result.stdout)["output"])


def test_an_invoked_run_that_is_not_there_yet_is_waited_for(
    orchestrator: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    server.answers["POST /invoke/shop-import"] = (200, {"data": {"run_id": "01J8R"}})

    def begin(_seconds: float) -> None:
        server.answers["GET /v1/runs/01J8R"] = (200, {"data": {"run_id": "01J8R", "status": "Completed"}})

    monkeypatch.setattr(invoke.time, "sleep", begin)
    result = orchestrator("invoke", "shop-import", "--wait", "--server", server.url)

    assert Exit.OK == result.exit_code, result.output


def test_an_invoked_run_that_does_not_begin_is_told(
    orchestrator: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    server.answers["POST /invoke/shop-import"] = (200, {"data": {"run_id": "01J8R"}})
    monkeypatch.setattr(invoke, "PATIENCE", 0)

    result = orchestrator("invoke", "shop-import", "--wait", "--server", server.url)

    assert Exit.NOT_FOUND == result.exit_code
    assert "the run 01J8R has not begun within 0 seconds: orchestrator queue says why" in result.stderr


def test_an_app_is_synced_by_its_url_or_its_name(orchestrator: Run, server: FakeServer):
    for path in ("by-url", "shop"):
        server.answers[f"POST /v2/apps/{path}/syncs"] = (200, {"data": {"status": "success", "appId": "shop"}})

    results = [orchestrator("sync", it, "--server", server.url) for it in ("http://localhost:5000/api", "shop")]

    assert [Exit.OK, Exit.OK] == [it.exit_code for it in results]
    assert [{"url": "http://localhost:5000/api"}, {}] == [it.body for it in server.asked]


def test_an_address_of_another_scheme_is_asked_for_as_one(orchestrator: Run, server: FakeServer):
    orchestrator("sync", "ftp://localhost/api", "--server", server.url)

    assert [("/v2/apps/by-url/syncs", {"url": "ftp://localhost/api"})] == [(it.path, it.body) for it in server.asked]


def test_an_app_that_is_not_synced_says_why(orchestrator: Run, server: FakeServer):
    refused = {"status": "error", "error": {"message": "nothing listens"}}
    server.answers["POST /v2/apps/by-url/syncs"] = (200, {"data": refused})

    result = orchestrator("sync", "http://localhost:1", "--server", server.url)

    assert (Exit.REFUSED, True) == (result.exit_code, "was not synced: nothing listens" in result.stderr)


def test_a_run_is_run_again_from_a_step_with_other_arguments(orchestrator: Run, server: FakeServer):
    server.answers["POST /v1/runs/01J8A/rerun"] = (200, {"data": {"run_id": "01J8B"}})

    result = orchestrator("rerun", "01J8A", "--from-step", "pay", "--input", '[7, "x"]', "--server", server.url)
    plain = orchestrator("rerun", "01J8A", "--server", server.url, "--json")

    assert "runs again as 01J8B; orchestrator run 01J8B shows it\n" == result.stdout
    assert [{"from_step": {"step_id": "pay", "input": [7, "x"]}}, {}] == [it.body for it in server.asked]
    assert {"data": {"run_id": "01J8B"}} == json.loads(plain.stdout)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--input", "[1]"), "name it with --from-step"),
        (("--from-step", "a", "--input", "{}"), "must be an array of the step's arguments"),
        (("--from-step", "a", "--input", "[1"), "--input is not JSON"),
    ],
)
def test_an_input_that_cannot_be_one_is_refused_before_it_is_sent(
    orchestrator: Run, server: FakeServer, options: tuple[str, ...], sentence: str
):
    result = orchestrator("rerun", "01J8A", *options, "--server", server.url)

    assert (Exit.USAGE, True, []) == (result.exit_code, sentence in result.stderr, server.asked)


def test_a_dry_run_counts_the_runs_that_are_chosen(orchestrator: Run, server: FakeServer):
    server.answers["POST /v1/bulk"] = (200, {"data": {"status": "Counted", "total": 7}})

    result = orchestrator("bulk", "rerun", "--status", "failed", "--app", "shop", "--dry-run", "--server", server.url)

    assert "7 runs would be run again\n" == result.stdout
    filter_ = {"status": ["failed"], "app": ["shop"]}
    assert [{"kind": "rerun", "filter": filter_, "dry_run": True}] == [it.body for it in server.asked]


def test_a_program_has_to_say_yes_and_is_told_how_many_it_would_be(orchestrator: Run, server: FakeServer):
    server.answers["POST /v1/bulk"] = (200, {"data": {"status": "Counted", "total": None, "at_least": 900}})

    result = orchestrator("bulk", "cancel", "--server", server.url)

    assert Exit.USAGE == result.exit_code
    assert "at least 900 runs would be cancelled: say --yes if that is meant" in result.stderr
    assert [True] == [it.body.get("dry_run") for it in server.asked]


def test_an_order_is_followed_to_its_end(orchestrator: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch):
    server.answers["POST /v1/bulk"] = (200, {"data": ORDER})
    server.answers["GET /v1/bulk/01J8R"] = (200, {"data": OVER})
    monkeypatch.setattr(bulk, "EVERY", 0)

    result = orchestrator("bulk", "rerun", "--status", "failed", "--rate", "5", "--yes", "--server", server.url)

    assert (Exit.OK, "completed: 6 of 7 run again, 1 could not be (its events are gone)\n") == (
        result.exit_code,
        result.stdout,
    )
    assert {"kind": "rerun", "filter": {"status": ["failed"]}, "rate": 5} == server.asked[0].body


def test_ctrl_c_leaves_an_order_running_and_says_how_to_stop_it(
    orchestrator: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    server.answers["POST /v1/bulk"] = (200, {"data": ORDER})
    monkeypatch.setattr(bulk.time, "sleep", interrupt)

    result = orchestrator("bulk", "rerun", "--status", "failed", "--yes", "--server", server.url)

    assert Exit.INTERRUPTED == result.exit_code
    assert "it goes on without you; to stop it: orchestrator bulk stop 01J8R" in result.stderr
    assert 1 == len(server.asked)


def test_an_order_that_was_given_up_fails_the_command(orchestrator: Run, server: FakeServer):
    server.answers["POST /v1/bulk"] = (200, {"data": ORDER | {"status": "Failed"}})

    result = orchestrator("bulk", "cancel", "--yes", "--server", server.url)

    assert (Exit.FAILED, True) == (result.exit_code, "was given up" in result.stderr)


def test_orders_are_listed_shown_and_stopped(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/bulk?limit=20"] = (200, {"data": [ORDER, OVER | {"total": None}]})
    server.answers["GET /v1/bulk/01J8R"] = (200, {"data": ORDER})
    server.answers["POST /v1/bulk/01J8R/stop"] = (200, {"data": ORDER | {"status": "Stopped"}})

    listed = orchestrator("bulk", "list", "--server", server.url).stdout.splitlines()
    shown = orchestrator("bulk", "show", "01J8R", "--server", server.url).stdout
    stopped = orchestrator("bulk", "stop", "01J8R", "--server", server.url).stdout

    assert ["01J8R", "rerun", "running", "2", "of", "7", "0"] == listed[1].split()[:7]
    assert ["01J8R", "rerun", "completed", "6", "of", "?", "1"] == listed[2].split()[:7]
    assert ("running: 2 of 7 run again\n", "stopped: 2 of 7 run again\n") == (shown, stopped)


def test_an_order_is_given_and_left_to_itself(orchestrator: Run, server: FakeServer):
    server.answers["POST /v1/bulk"] = (200, {"data": ORDER})

    result = orchestrator("bulk", "cancel", "--yes", "--detach", "--server", server.url)

    assert "ordered 01J8R: orchestrator bulk show 01J8R --watch, or: bulk stop 01J8R\n" == result.stdout
