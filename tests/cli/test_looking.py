"""`runs`, `run --watch`, `event`, `functions`, `apps`: what people and programs see of a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from orchestrator.cli import events, run, runs
from orchestrator.cli.exits import Exit
from tests.cli.conftest import FakeServer

Run = Callable[..., Result]

ROW: dict[str, Any] = {
    "run_id": "01J8ABCDEFGHJKMNPQRSTVWXK2",
    "status": "Failed",
    "function": "shop-import",
    "event_name": "shop/imp\x1b[2Jorted",
    "queued_at": "2026-11-21T12:00:01Z",
    "started_at": "2026-11-21T12:00:01Z",
    "ended_at": "2026-11-21T12:00:05.100Z",
}
LAST = {"cursor": None, "has_more": False, "scanned_until": None, "error": None}


def page(*rows: object, **about: object) -> tuple[int, Any]:
    return 200, {"data": list(rows), "page": LAST | about}


def test_runs_are_a_table_and_what_strangers_wrote_is_escaped(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/runs?limit=20"] = page(ROW, ROW | {"status": "Running", "ended_at": None})

    result = orchestrator("runs", "--server", server.url)

    head, first, second = result.stdout.splitlines()
    assert ["RUN", "STATUS", "FUNCTION", "EVENT", "QUEUED", "TOOK"] == head.split()
    assert first.startswith("01J8ABCDEFGHJKMNPQRSTVWXK2  failed   shop-import  shop/imp\\x1b[2Jorted  2026-11-21 ")
    assert (True, True) == (first.endswith("  4.1 s"), second.endswith("  -"))
    assert "\x1b" not in result.stdout


def test_colours_are_for_terminals_or_whoever_wants_them(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/runs?limit=20"] = page(ROW)

    assert "\x1b[31mfailed\x1b[0m" in orchestrator("runs", "--server", server.url, FORCE_COLOR="1").stdout


def test_the_options_choose(orchestrator: Run, server: FakeServer):
    orchestrator(
        *("runs", "--status", "failed", "--status", "cancelled", "--function", "shop-import", "--app", "shop"),
        *("--since", "2026-11-21T12:00:00+01:00", "--until", "2026-11-21T12:00:00Z", "--time-field", "ended_at"),
        *("--failure", "0123456789abcdef"),
        *("--query", 'event.data.n == "ä"', "--order-by", "ended_at", "--limit", "5", "--server", server.url),
    )

    assert (
        "/v1/runs?status=failed%2Ccancelled&function=shop-import&app=shop&since=2026-11-21T11%3A00%3A00.000Z"
        "&until=2026-11-21T12%3A00%3A00.000Z&time_field=ended_at&query=event.data.n+%3D%3D+%22%C3%A4%22&failure=0123456789abcdef"
        "&order_by=ended_at&limit=5"
    ) == server.asked[0].path


def test_a_time_may_be_so_long_ago(orchestrator: Run, server: FakeServer):
    orchestrator("runs", "--since", "2h", "--server", server.url)
    wrong = orchestrator("runs", "--since", "yesterday", "--server", server.url)

    assert server.asked[0].path.startswith("/v1/runs?since=20")
    assert Exit.USAGE == wrong.exit_code
    assert "--since must be a time ago such as 30m, 2h or 7d" in wrong.stderr


@pytest.mark.parametrize("time", ["999999d", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_before_or_after_all_times_is_refused(orchestrator: Run, server: FakeServer, time: str):
    result = orchestrator("runs", "--since", time, "--server", server.url)

    assert Exit.USAGE == result.exit_code
    assert f"'{time}' is neither" in result.stderr


def test_what_the_server_says_of_a_query_is_not_obeyed_by_the_terminal(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/runs?query=event.x&limit=20"] = page(ROW, error="no such key: \x1b[2J\x07")

    result = orchestrator("runs", "--query", "event.x", "--server", server.url)

    assert "no such key: \\x1b[2J\\x07" in result.stderr


def test_more_than_a_page_is_asked_for_page_by_page_and_what_is_left_is_told(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/runs?limit=100"] = page(*[ROW] * 100, has_more=True, cursor="x/1")
    server.answers["GET /v1/runs?cursor=x%2F1&limit=20"] = page(*[ROW] * 20, has_more=True, cursor="x/2")

    result = orchestrator("runs", "--limit", "120", "--json", "--server", server.url)
    shown = orchestrator("runs", "--limit", "120", "--server", server.url)

    assert 120 == len(json.loads(result.stdout))
    assert "there are more: --limit 600 shows them" in shown.stderr


def test_a_search_that_stopped_at_its_budget_goes_on(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/runs?query=x&limit=20"] = page(has_more=True, cursor="c", scanned_until="2026-11-21T12:00Z")
    server.answers["GET /v1/runs?query=x&cursor=c&limit=20"] = page(ROW)

    assert 1 == len(json.loads(orchestrator("runs", "--query", "x", "--json", "--server", server.url).stdout))


def test_nothing_found_says_what_to_do(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/runs?limit=20"] = page()
    server.answers["GET /v1/apps"] = (200, {"data": []})

    for command, sentence in (
        ("runs", "lists the latest"),
        ("apps", "orchestrator sync URL"),
        ("functions", "sync URL"),
    ):
        result = orchestrator(command, "--server", server.url)
        assert (Exit.OK, "", True) == (result.exit_code, result.stdout, sentence in result.stderr)


class Looks:
    """Answers that change with each look; the last one ends the watching of a list."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, change: Callable[[int], None], last: int) -> None:
        self.count = 0

        def sleep(_: float) -> None:
            self.count += 1
            if self.count > last:
                raise KeyboardInterrupt
            change(self.count)

        for module in (runs, run, events):
            monkeypatch.setattr(module.time, "sleep", sleep)


@pytest.mark.parametrize(("end", "code"), [("Completed", Exit.OK), ("Failed", Exit.RUN_FAILED)])
def test_a_run_is_watched_to_its_end_which_is_the_exit_code(
    orchestrator: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch, end: str, code: Exit
):
    path = "GET /v1/runs/01J8ABCDEFGHJKMNPQRSTVWXK2"
    server.answers[path] = (200, {"data": ROW | {"status": "Running"}})

    def change(_: int) -> None:
        server.answers[path] = (200, {"data": ROW | {"status": end}})

    Looks(monkeypatch, change, 1)
    result = orchestrator("run", "01J8ABCDEFGHJKMNPQRSTVWXK2", "--watch", "--server", server.url)

    assert (code, 2) == (result.exit_code, len(server.asked))
    assert f"status    {end.lower()}" in result.stdout


@pytest.mark.parametrize("command", ["runs", "events"])
def test_a_list_is_watched_until_it_is_interrupted(
    orchestrator: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch, command: str
):
    server.answers[f"GET /v1/{command}?limit=20"] = page(ROW)
    Looks(monkeypatch, lambda _: None, 2)

    result = orchestrator(command, "--watch", "--server", server.url)

    assert (Exit.INTERRUPTED, 3) == (result.exit_code, len(server.asked))


def test_a_run_shows_what_it_runs_again_and_what_it_waits_for(orchestrator: Run, server: FakeServer):
    told = {"original_run_id": "01J8A", "reruns": ["01J8C", "01J8B"], "waiting": "it sleeps"}
    server.answers["GET /v1/runs/01J8X"] = (200, {"data": ROW | told})

    lines = orchestrator("run", "01J8X", "--server", server.url).stdout.splitlines()

    assert {"rerun of  01J8A", "reruns    01J8C, 01J8B", "waits     it sleeps"} <= set(lines)


def test_an_event_is_shown_with_its_runs(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/events/01J8E"] = (200, {"data": {"internal_id": "01J8E", "name": "a/b", "data": {"n": 1}}})
    server.answers["GET /v1/events/01J8E/runs"] = (200, {"data": [ROW]})

    shown = orchestrator("event", "01J8E", "--server", server.url).stdout.splitlines()
    told = json.loads(orchestrator("event", "01J8E", "--json", "--server", server.url).stdout)

    assert {"event     01J8E", 'data      {"n": 1}'} <= set(shown)
    assert shown[-1].startswith("01J8ABCDEFGHJKMNPQRSTVWXK2  failed  shop-import")
    assert ("a/b", [ROW]) == (told["name"], told["runs"])


def test_functions_of_all_apps_are_listed_with_their_triggers_and_their_state(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/apps"] = (200, {"data": [{"name": "shop"}, {"name": None}, {"name": "mail"}]})
    config = {"triggers": [{"event": "shop/paid"}, {"cron": "0 9 * * *"}]}
    server.answers["GET /v1/apps/shop/functions"] = (200, [{"id": "shop-pay", "name": "pay", "config": config}])
    server.answers["GET /v1/apps/mail/functions"] = (200, [{"id": "mail-x", "name": "x", "paused_at": "2026"}])

    lines = orchestrator("functions", "--server", server.url).stdout.splitlines()
    one = orchestrator("functions", "--app", "shop", "--json", "--server", server.url)

    assert [
        ["shop-pay", "pay", "shop/paid,", "0", "9", "*", "*", "*", "active"],
        ["mail-x", "x", "-", "paused"],
    ] == [line.split() for line in lines[1:]]
    assert ["shop-pay"] == [it["id"] for it in json.loads(one.stdout)]


def test_apps_are_listed_with_the_reason_why_one_is_not_synced(orchestrator: Run, server: FakeServer):
    good = {"name": "shop", "url": "http://a", "function_count": 2, "sdk_language": "py", "sdk_version": "0.5.19"}
    bad = {"name": None, "url": "http://b", "function_count": 0, "error": "refused"}
    server.answers["GET /v1/apps"] = (200, {"data": [good, bad]})

    lines = orchestrator("apps", "--server", server.url).stdout.splitlines()

    assert ["shop", "2", "py", "0.5.19", "never", "http://a"] == lines[1].split()
    assert ["(not", "synced)", "0", "?", "never", "http://b", "refused"] == lines[2].split()
