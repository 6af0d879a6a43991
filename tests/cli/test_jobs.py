"""`orchestrator jobs` against a server over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result

from orchestrator.cli.exits import Exit
from tests.cli.conftest import FakeServer

Run = Callable[..., Result]

LISTED = "GET /v1/jobs?state=dead&limit=20"
MATCH = {
    "id": 8,
    "kind": "match",
    "run_id": None,
    "function": None,
    "event_ids": ["01E"],
    "error": "ValueError: \x1b[2J",
}
CALL = {"id": 7, "kind": "call", "run_id": "01R", "function": "shop-bill", "event_ids": [], "error": "lost 5 times"}


def test_dead_jobs_are_listed_with_what_they_are_about_and_why(orchestrator: Run, server: FakeServer):
    server.answers[LISTED] = (200, {"data": [MATCH, CALL]})

    result = orchestrator("jobs", "dead", "--server", server.url)

    assert ["8  match      01E  ValueError: \\x1b[2J", "7  call       shop-bill 01R  lost 5 times"] == (
        result.stdout.splitlines()
    )


def test_they_are_printed_whole_as_json_and_page_by_page(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/jobs?state=dead&limit=1&cursor=8"] = (200, {"data": [CALL]})

    result = orchestrator("jobs", "dead", "--server", server.url, "--json", "--limit", "1", "--before", "8")

    assert [CALL] == json.loads(result.stdout)


def test_that_none_is_dead_is_said(orchestrator: Run, server: FakeServer):
    server.answers[LISTED] = (200, {"data": []})

    assert "no job is dead\n" == orchestrator("jobs", "dead", "--server", server.url).stderr


def test_several_are_requeued_or_deleted_at_once(orchestrator: Run, server: FakeServer):
    for job_id in (7, 8):
        server.answers[f"POST /v1/jobs/{job_id}/requeue"] = server.answers[f"DELETE /v1/jobs/{job_id}"] = (200, {})

    told = [orchestrator("jobs", verb, "7", "8", "--server", server.url).stdout for verb in ("requeue", "delete")]

    assert ["requeued 7\nrequeued 8\n", "deleted 7\ndeleted 8\n"] == told


def test_one_that_is_unknown_ends_with_its_own_code(orchestrator: Run, server: FakeServer):
    assert Exit.NOT_FOUND == orchestrator("jobs", "requeue", "9", "--server", server.url).exit_code
