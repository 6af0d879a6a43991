"""`orchestrator queue` against a server over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from click.testing import Result

from tests.cli.conftest import FakeServer

Run = Callable[..., Result]

NONE = {"number": 0, "exact": True}
COUNTS = dict.fromkeys(("due", "working", "parked", "held", "later", "dead"), NONE)
LINE = {"function": None, "own": None, "due": 0, "working": 0, "parked": 0, "held": 0, "later": 0}
WORKER = {"host": "h", "pid": 7, "alive": True, "working": 2, "executors": 100, "version": "0.1"}
FOUND: dict[str, Any] = {
    "oldest_due_at": "2026-11-21T12:00:00Z",
    "counts": COUNTS | {"due": {"number": 3, "exact": True}, "later": {"number": 10000, "exact": False}},
    "functions": [LINE | {"function": "shop-bill", "due": 2, "later": 9}, LINE | {"own": "match", "due": 1}],
    "waits": [
        {"function": "shop-bill", "sentence": "2 calls wait\x1b[2J", "until": None, "run_ids": ["01R"]},
        {"function": None, "sentence": "1 run waits", "until": "2026-11-21T12:30:00Z", "run_ids": []},
    ],
    "workers": [WORKER, WORKER | {"pid": 8, "alive": False, "seen_at": "2026-11-21T11:00:00Z"}],
    "database": {"product": "postgresql 16", "place": "db:5432/x", "connections": 9, "most_connections": 97},
    "broker": {
        "kind": "redis",
        "place": "cache:6379/0",
        "product": "",
        "queues": {"orchestrator.runner": None},
        "problem": "Connection refused",
        "way_out": "does it run?",
    },
}
ANSWER = {"data": FOUND, "metadata": {"fetched_at": "2026-11-21T12:00:42Z"}}


def test_it_says_how_far_behind_all_is_why_and_who_works(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/queue"] = (200, ANSWER)

    lines = orchestrator("queue", "--server", server.url).stdout.splitlines()

    assert "3 due, 0 working, 0 parked, 0 held, 10000+ later, 0 dead" == lines[0]
    assert "the oldest job that is due has waited 42.0 s" == lines[1]
    assert ["shop-bill", "2", "-", "-", "-", "9"] in [it.split() for it in lines]
    assert "shop-bill: 2 calls wait\\x1b[2J (at work: 01R)" in lines
    assert any(it.startswith("several functions: 1 run waits; the next at 2026-11-21 ") for it in lines)
    assert "worker h:7 is alive, has 2 of 100 calls in hand, version 0.1" in lines
    assert any(it.startswith("worker h:8 vanished") for it in lines)
    assert "database postgresql 16 at db:5432/x, 9 of 97 connections" in lines
    assert ["broker redis at cache:6379/0, 0 hints in orchestrator.runner", "  Connection refused -> does it run?"] == (
        lines[-2:]
    )


def test_where_nobody_works_it_says_how_to_begin(orchestrator: Run, server: FakeServer):
    idle = FOUND | {"oldest_due_at": None, "functions": [], "waits": [], "workers": []}
    server.answers["GET /v1/queue"] = (200, ANSWER | {"data": idle})

    said = orchestrator("queue", "--server", server.url).stdout

    assert "no job that is due waits" in said
    assert "no worker runs, so nothing is done: start `celery -A orchestrator worker`" in said


def test_programs_get_all_of_it(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/queue"] = (200, ANSWER)

    assert FOUND == json.loads(orchestrator("queue", "--server", server.url, "--json").stdout)
