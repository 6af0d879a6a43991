"""People of the dashboard, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import Result

from orchestrator.cli.exits import Exit
from orchestrator.cli.explained import explained
from orchestrator.engine.sign_in import sign_in
from orchestrator.store import schema
from orchestrator.store.database import Database

Run = Callable[..., Result]
PASSWORD = "correct horse battery"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path}/state.db"
    schema.upgrade(url)
    return url


def may_sign_in(url: str, name: str, password: str) -> bool:
    database = Database(url)
    try:
        return bool(sign_in(database, name, password, "", datetime.now(UTC), timedelta(hours=1)))
    finally:
        database.close()


def test_somebody_is_let_in_changed_listed_and_removed(orchestrator: Run, url: str) -> None:
    def users(*args: str, stdin: str | None = None) -> Result:
        result = orchestrator("users", *args, stdin=stdin, DATABASE_URL=url)
        assert Exit.OK == result.exit_code, result.output
        return result

    users("new", "Ada", "--role", "admin", stdin=PASSWORD + "\n")
    generated = users("new", "ben", "--generate").stdout.strip()
    users("role", "ben", "viewer")
    before = json.loads(users("list", "--json").stdout)
    assert may_sign_in(url, "ada", PASSWORD)
    assert may_sign_in(url, "ben", generated)
    users("password", "ada", stdin="another horse battery\r\n")
    users("remove", "ben")

    assert [("ada", "admin"), ("ben", "viewer")] == [(it["name"], it["role"]) for it in before]
    assert may_sign_in(url, "ada", "another horse battery")
    assert "ben" not in users("list").stdout


def test_what_cannot_be_is_one_sentence(orchestrator: Run, url: str) -> None:
    short = orchestrator("users", "new", "ada", stdin="short\n", DATABASE_URL=url)
    unknown = orchestrator("users", "remove", "eve", DATABASE_URL=url)
    nameless = orchestrator("users", "new", "a b", "--generate", DATABASE_URL=url)

    assert [Exit.FAILED] * 3 == [it.exit_code for it in (short, unknown, nameless)]
    assert "password must have 12 to 512 characters" in short.stderr
    assert "there is no user eve" in unknown.stderr
    assert "name must have" in nameless.stderr
    assert "" == nameless.stdout


def test_a_password_that_became_nobodys_is_not_printed(orchestrator: Run, url: str) -> None:
    orchestrator("users", "new", "ada", "--generate", DATABASE_URL=url)

    again = orchestrator("users", "new", "ada", "--generate", DATABASE_URL=url)
    unknown = orchestrator("users", "password", "eve", "--generate", DATABASE_URL=url)

    assert [(Exit.FAILED, "")] * 2 == [(it.exit_code, it.stdout) for it in (again, unknown)]


def test_the_database_of_the_state_directory_is_found_while_a_server_uses_it(orchestrator: Run, tmp_path: Path) -> None:
    missing = orchestrator("users", "list")
    (tmp_path / ".orchestrator").mkdir()
    schema.upgrade(f"sqlite:///{tmp_path}/.orchestrator/state.db")

    found = orchestrator("users", "list")

    assert Exit.CONFIG == missing.exit_code
    assert "no database is named" in missing.stderr
    assert (Exit.OK, "there are no users") == (found.exit_code, found.stderr[:18])


def test_a_question_that_is_broken_off_is_no_fault_of_the_database() -> None:
    """As click says it when Ctrl-C comes while a password is asked for."""
    with pytest.raises(click.Abort), explained():
        raise click.Abort
