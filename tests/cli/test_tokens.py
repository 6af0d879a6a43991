"""`orchestrator tokens` against a server over real HTTP, and tokens as the commands' own credential."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from orchestrator.cli.exits import Exit
from tests.cli.conftest import FakeServer

Run = Callable[..., Result]

LISTED = "GET /v1/tokens?limit=100"
CI = {
    "id": "01J8Z3V6Q4M1T9D2B7KXW5N0PE",
    "name": "ci",
    "hint": "orch_12345",
    "scopes": ["read", "write"],
    "last_used_at": None,
    "revoked_at": None,
}
OLD = CI | {"id": "01J8Z3V6Q4M1T9D2B7KXW5N0PD", "revoked_at": "2026-11-21T12:00:00.000Z"}


def test_a_new_token_is_all_that_is_printed_so_that_a_shell_can_take_it(orchestrator: Run, server: FakeServer):
    server.answers["POST /v1/tokens"] = (200, {"data": CI | {"token": "orch_secret"}})

    result = orchestrator("tokens", "new", "ci", "--scope", "read", "--scope", "write", "--server", server.url)

    assert ("orch_secret\n", True) == (result.stdout, "not shown again" in result.stderr)
    assert {"name": "ci", "scopes": ["read", "write"]} == server.asked[0].body


def test_a_token_needs_a_scope_that_there_is(orchestrator: Run, server: FakeServer):
    results = [
        orchestrator("tokens", "new", "ci", *more, "--server", server.url) for more in ([], ["--scope", "everything"])
    ]

    assert [Exit.USAGE, Exit.USAGE] == [result.exit_code for result in results]
    assert [] == server.asked


def test_tokens_are_listed_and_revoked_ones_only_on_demand(orchestrator: Run, server: FakeServer):
    server.answers[LISTED] = (200, {"data": [CI, OLD]})

    short = orchestrator("tokens", "list", "--server", server.url)
    whole = orchestrator("tokens", "list", "--all", "--json", "--server", server.url)

    assert [f"{CI['id']}  orch_12345…  ci                read,write  used never"] == short.stdout.splitlines()
    assert [CI, OLD] == json.loads(whole.stdout)


def test_that_there_are_none_is_said(orchestrator: Run, server: FakeServer):
    server.answers[LISTED] = (200, {"data": []})

    assert "there are no tokens\n" == orchestrator("tokens", "list", "--server", server.url).stderr


@pytest.mark.parametrize("word", ["ci", CI["id"], str(CI["id"]).lower()])
def test_a_token_is_revoked_by_its_name_or_its_id(orchestrator: Run, server: FakeServer, word: str):
    server.answers[LISTED] = (200, {"data": [CI, OLD]})
    server.answers[f"DELETE /v1/tokens/{CI['id']}"] = (200, {"data": CI})

    assert f"revoked ci ({CI['id']})\n" == orchestrator("tokens", "revoke", word, "--server", server.url).stdout


def test_a_name_that_two_tokens_have_or_none_has_revokes_nothing(orchestrator: Run, server: FakeServer):
    server.answers[LISTED] = (200, {"data": [CI, OLD | {"revoked_at": None}]})

    results = [orchestrator("tokens", "revoke", word, "--server", server.url) for word in ("ci", "cd")]

    assert [Exit.USAGE, Exit.NOT_FOUND] == [result.exit_code for result in results]
    assert {"GET"} == {asked.method for asked in server.asked}


def test_a_token_in_the_environment_is_what_the_commands_ask_with(orchestrator: Run, server: FakeServer):
    server.answers[LISTED] = (200, {"data": []})

    orchestrator("tokens", "list", "--server", server.url, ORCHESTRATOR_API_TOKEN="orch_1", INNGEST_SIGNING_KEY="ab")

    assert "Bearer orch_1" == server.asked[0].headers["authorization"]


def test_a_token_that_is_too_narrow_is_told_of(orchestrator: Run, server: FakeServer):
    server.answers[LISTED] = (403, {"error": "token ci may not do this: it needs the scope admin", "status": 403})

    result = orchestrator("tokens", "list", "--server", server.url)

    assert (Exit.REFUSED, True) == (result.exit_code, "it needs the scope admin" in result.stderr)
