"""The schema's commands against a real database file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from orchestrator.cli.exits import Exit

Run = Callable[..., Result]


def test_a_new_database_is_checked_upgraded_and_checked_again(orchestrator: Run, tmp_path: Path):
    url = f"sqlite:///{tmp_path}/state.db"

    before = orchestrator("db", "check", ORCHESTRATOR_DATABASE_URL=url)
    at_first = orchestrator("db", "current", "--database-url", url)
    upgraded = orchestrator("db", "upgrade", "--database-url", url)
    again = orchestrator("db", "upgrade", "--database-url", url)
    after = orchestrator("db", "check", DATABASE_URL=url)

    assert (Exit.SCHEMA, Exit.OK, Exit.OK, Exit.OK) == (
        before.exit_code,
        upgraded.exit_code,
        again.exit_code,
        after.exit_code,
    )
    assert "run `orchestrator db upgrade`" in before.stderr
    assert "no tables yet\n" == at_first.stdout
    assert upgraded.stdout == again.stdout


def test_without_a_database_the_setting_is_named(orchestrator: Run):
    result = orchestrator("db", "upgrade")

    assert Exit.CONFIG == result.exit_code
    assert "set ORCHESTRATOR_DATABASE_URL, or give --database-url" in result.stderr


def test_a_database_that_does_not_answer_is_no_traceback(orchestrator: Run):
    result = orchestrator("db", "current", "--database-url", "postgres://shop:hunter2@127.0.0.1:1/x")

    assert Exit.UNREACHABLE == result.exit_code
    assert "Traceback" not in result.output
    assert "hunter2" not in result.output
