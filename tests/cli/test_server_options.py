"""The server's flags: what they set, what they leave to the environment, and what is taken and ignored."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.exits import Exit
from orchestrator.cli.options import FOREIGN, Flags, read_config, server_options

Run = Callable[..., Result]


def flags_of(*args: str) -> dict[str, object]:
    """What a command gets as `flags` for these arguments."""
    got: dict[str, object] = {}

    @click.command()
    @server_options
    def command(flags: Flags) -> None:
        got.update(flags)

    result = CliRunner().invoke(command, args, catch_exceptions=False)
    assert Exit.OK == result.exit_code, result.output
    return got


FLAGS = [
    (("-u", "http://a", "--sdk-url", "http://b"), {"sdk_urls": ("http://a", "http://b")}),
    (("--host", "::1"), {"host": "::1"}),
    (("-p", "0"), {"port": "0"}),
    (("--port", "9"), {"port": "9"}),
    (("--persist",), {"persist": True}),
    (("--state-dir", "x"), {"state_dir": "x"}),
    (("--no-discovery",), {"discovery": False}),
    (("--no-poll",), {"poll": False}),
    (("--poll-interval", "9"), {"poll_interval": "9"}),
    (("--retry-interval", "0"), {"retry_interval": "0"}),
    (("--queue-workers", "9"), {"queue_workers": "9"}),
    (("--json",), {"log_json": True}),
    (("--log-level", "debug"), {"log_level": "debug"}),
    (("--config", "x.toml"), {"config": "x.toml"}),
    (("--postgres-uri", "postgres://h/x"), {"database_url": "postgres://h/x"}),
    (("--allowed-networks", "10.0.0.0/8"), {"allowed_networks": "10.0.0.0/8"}),
    (("--event-key", "a", "--event-key", "b"), {"event_keys": ("a", "b")}),
    (("--signing-key", "00ff"), {"signing_key": "00ff"}),
    ((), {}),
]


@pytest.mark.parametrize(("args", "flags"), FLAGS, ids=[" ".join(row[0]) or "none" for row in FLAGS])
def test_only_what_was_given_is_a_flag(args: tuple[str, ...], flags: dict[str, object]):
    assert flags == flags_of(*args)


def test_foreign_flags_are_taken_and_named_in_one_line(orchestrator: Run):
    args = [part for flag, takes_value in FOREIGN.items() for part in ((flag, "1") if takes_value else (flag,))]

    result = orchestrator("config", "show", *args)

    assert Exit.OK == result.exit_code
    assert [f"ignored, for they have no meaning here: {', '.join(FOREIGN)}"] == result.stderr.splitlines()


def test_without_foreign_flags_nothing_is_said(orchestrator: Run):
    assert "" == orchestrator("config", "show", "--port", "9").stderr


def test_config_show_names_value_and_source_and_hides_secrets(orchestrator: Run):
    result = orchestrator(
        "config", "show", "--port", "9", INNGEST_SIGNING_KEY="decade", DATABASE_URL="postgres://u:hunter2@h/x"
    )

    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
    assert ["9", "flag"] == rows["port"]
    assert ["set", "(hidden)", "INNGEST_SIGNING_KEY"] == rows["signing_key"]
    assert ["postgresql+psycopg://u:***@h/x", "DATABASE_URL"] == rows["database_url"]
    assert "hunter2" not in result.output
    assert "decade" not in result.output


def test_config_show_prints_json_as_well(orchestrator: Run):
    result = orchestrator("config", "show", "--mode", "dev", "--json")

    assert {"value": "127.0.0.1", "source": "default"} == json.loads(result.stdout)["host"]


def test_a_file_in_or_above_the_directory_is_read(orchestrator: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "orchestrator.toml").write_text("port = 7")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")

    assert 7 == read_config({}, "dev").port


def test_a_wrong_setting_ends_with_its_own_code(orchestrator: Run):
    result = orchestrator("dev", "--port", "x")

    assert Exit.CONFIG == result.exit_code
    assert "port (from flag) must be a port from 0 to 65535" in result.stderr


def test_a_busy_port_is_refused_with_a_sentence(orchestrator: Run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = orchestrator("dev", "--port", str(port))

    assert Exit.CONFIG == result.exit_code
    assert f"port: {port} on 127.0.0.1 cannot be used" in result.stderr
