"""`orchestrator start` and `orchestrator keys`: nothing runs without keys, and what makes them is told."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from orchestrator.cli.embedded import EmbeddedServer
from orchestrator.cli.exits import Exit
from orchestrator.config import load, require_secrets
from orchestrator.errors import ConfigError
from orchestrator.store import schema

Run = Callable[..., Result]

KEYS = {"ORCHESTRATOR_SIGNING_KEY": "signkey-prod-00ff", "ORCHESTRATOR_EVENT_KEYS": "event-key"}
LINE = re.compile(r"([A-Z_]+)=(\S+)")


@pytest.mark.parametrize(
    ("env", "missing"),
    [
        ({}, "signing_key and event_keys are not set"),
        ({"INNGEST_SIGNING_KEY": "00ff"}, "event_keys is not set"),
        ({"ORCHESTRATOR_EVENT_KEYS": "event-key"}, "signing_key is not set"),
        ({**KEYS, "ORCHESTRATOR_SIGNING_KEY": " "}, "signing_key is not set"),
    ],
)
def test_it_refuses_to_run_without_keys_and_says_how_to_make_them(
    orchestrator: Run, env: dict[str, str], missing: str
) -> None:
    result = orchestrator("start", "--port", "0", **env)

    assert Exit.CONFIG == result.exit_code
    assert missing in result.stderr
    assert "`orchestrator keys new` makes a pair" in result.stderr
    assert not Path(".orchestrator").exists()


def test_no_way_around_the_command_runs_without_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="orchestrator keys new"):
        EmbeddedServer(load({}, {"port": 0, "state_dir": tmp_path}))


def test_a_key_that_is_none_is_refused_without_being_repeated(orchestrator: Run) -> None:
    result = orchestrator("start", "--port", "0", **{**KEYS, "ORCHESTRATOR_SIGNING_KEY": "hunter2"})

    assert Exit.CONFIG == result.exit_code
    assert "signing_key (from ORCHESTRATOR_SIGNING_KEY) must be hexadecimal digits" in result.stderr
    assert "hunter2" not in result.output


def test_a_network_that_is_none_is_named(orchestrator: Run) -> None:
    result = orchestrator("start", "--allowed-networks", "inside", **KEYS)

    assert Exit.CONFIG == result.exit_code
    assert "allowed_networks (from flag) must be networks or addresses such as 10.0.0.0/8" in result.stderr


@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "json"])
def test_new_keys_are_what_start_wants_and_never_the_same(orchestrator: Run, as_json: bool) -> None:
    first, second = (orchestrator("keys", "new", *(["--json"] if as_json else [])).stdout for _ in range(2))

    made = json.loads(first) if as_json else dict(LINE.findall(first))
    again = json.loads(second) if as_json else dict(LINE.findall(second))
    require_secrets(load(made, {"mode": "start"}))
    assert re.fullmatch(r"signkey-prod-[0-9a-f]{64}", made["ORCHESTRATOR_SIGNING_KEY"])
    assert set() == set(made.values()) & set(again.values())
    assert (made["ORCHESTRATOR_SIGNING_KEY"], made["ORCHESTRATOR_EVENT_KEYS"]) == (
        made["INNGEST_SIGNING_KEY"],
        made["INNGEST_EVENT_KEY"],
    )


def test_the_lines_of_new_keys_are_read_by_a_shell(orchestrator: Run, tmp_path: Path) -> None:
    (tmp_path / "env").write_text(orchestrator("keys", "new").stdout)

    shown = subprocess.run(
        ["sh", "-c", "set -eua; . ./env; env"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout

    assert {"ORCHESTRATOR_SIGNING_KEY", "ORCHESTRATOR_EVENT_KEYS", "INNGEST_SIGNING_KEY", "INNGEST_EVENT_KEY"} <= {
        line.partition("=")[0] for line in shown.splitlines()
    }


def test_a_shared_database_is_upgraded_by_hand_and_not_by_whoever_starts(orchestrator: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"

    refused = orchestrator("start", "--port", "0", DATABASE_URL=url, **KEYS)

    assert Exit.SCHEMA == refused.exit_code
    assert "has no tables yet" in refused.stderr
    assert "run `orchestrator db upgrade`" in refused.stderr
    assert schema.current(url) is None


def test_a_database_that_does_not_answer_has_a_code_of_its_own(orchestrator: Run) -> None:
    result = orchestrator("start", "--port", "0", DATABASE_URL="postgres://u:hunter2@127.0.0.1:1/x", **KEYS)

    assert Exit.UNREACHABLE == result.exit_code
    assert "hunter2" not in result.output


@pytest.mark.parametrize("shared", [False, True], ids=["state directory", "database by URL"])
def test_the_server_keeps_its_state_and_ends_by_term(tmp_path: Path, shared: bool) -> None:
    env = {name: text for name, text in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "INNGEST_"))}
    if shared:
        env["DATABASE_URL"] = f"sqlite:///{tmp_path / 'shared.db'}"
        schema.upgrade(env["DATABASE_URL"])
    command = [sys.executable, "-m", "orchestrator.cli.main", "start", "--port", "0", "--host", "127.0.0.1", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, env=env | KEYS, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            ready = json.loads(server.stdout.readline())
            server.send_signal(signal.SIGTERM)
            rest, _ = server.communicate(timeout=30)
        finally:
            server.kill()

    assert ("server ready", "start", 0, "") == (ready["message"], ready["mode"], server.returncode, rest)
    assert ("database (sqlite)" if shared else ".orchestrator") == ready["state"]
    assert shared != (tmp_path / ".orchestrator" / "state.db").exists()
