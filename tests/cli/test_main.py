"""The tree of commands: found by name, explained by examples, quick to load, ended by a code with a meaning."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import Result

import orchestrator as package
from orchestrator.cli.exits import Exit
from orchestrator.cli.main import COMMANDS

Run = Callable[..., Result]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_found_and_has_help(name: str, orchestrator: Run):
    result = orchestrator(name, "--help")

    assert Exit.OK == result.exit_code
    assert "Usage:" in result.stdout


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"version", "config"}))
def test_every_command_that_takes_something_shows_examples(name: str, orchestrator: Run):
    assert "Examples:" in orchestrator(name, "--help").stdout


def test_help_lists_every_command_and_every_exit_code(orchestrator: Run):
    shown = orchestrator("--help").stdout

    assert [] == [name for name in COMMANDS if f"\n  {name} " not in shown]
    assert [] == [code for code in Exit if code.sentence not in shown]


@pytest.mark.parametrize(("typed", "meant"), [("evnts", "events"), ("cancle", "cancel"), ("sned", "send")])
def test_a_mistyped_command_is_answered_with_the_one_meant(typed: str, meant: str, orchestrator: Run):
    result = orchestrator(typed)

    assert Exit.USAGE == result.exit_code
    assert f"Did you mean {meant}?" in result.stderr


def test_a_command_like_no_other_gets_no_guess(orchestrator: Run):
    result = orchestrator("zzzz")

    assert "There is no command 'zzzz'.\n" in result.stderr


@pytest.mark.parametrize("args", [("--version",), ("version",)])
def test_the_version_is_told(args: tuple[str, ...], orchestrator: Run):
    assert package.__version__ in orchestrator(*args).stdout


def test_help_and_talking_to_a_server_load_no_part_of_the_server():
    code = (
        "import sys, orchestrator.cli.main, orchestrator.cli.send, orchestrator.cli.bulk, orchestrator.cli.invoke\n"
        "try: orchestrator.cli.main.cli(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules)"
    )

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert set() == set(printed.split()) & {"flask", "sqlalchemy", "celery", "kombu", "structlog", "rich", "orjson"}
