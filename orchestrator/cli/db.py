"""`orchestrator db`: the schema of the database, made and checked by hand (or by a deploy)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.explained import explained
from orchestrator.cli.options import read_config
from orchestrator.cli.problem import Problem
from orchestrator.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(
    epilog="""\b
Examples:
  orchestrator db upgrade                                        in a deploy, before the new version starts
  orchestrator db check && orchestrator start
  orchestrator db current --database-url sqlite:///state.db
""",
)
def db() -> None:
    """Make, upgrade and check the database's schema."""


def _database_url(command: Command) -> Command:
    return click.option(
        "--database-url", metavar="URL", help="The database.  [default: ORCHESTRATOR_DATABASE_URL, DATABASE_URL, file]"
    )(command)


@db.command()
@_database_url
def upgrade(database_url: str | None) -> None:
    """Bring the database to the newest revision; does nothing when it is there already."""
    url = _url(database_url)
    with explained():
        from orchestrator.store import schema

        click.echo(f"the database is at revision {schema.upgrade(url)}")


@db.command()
@_database_url
def current(database_url: str | None) -> None:
    """Print the revision the database is at."""
    url = _url(database_url)
    with explained():
        from orchestrator.store import schema

        click.echo(schema.current(url) or "no tables yet")


@db.command()
@_database_url
def check(database_url: str | None) -> None:
    """End with exit code 7 when the database is not at the newest revision."""
    url = _url(database_url)
    with explained():
        from orchestrator.store import schema

        try:
            schema.check(url)
        except ConfigError as error:
            raise Problem(error.message, Exit.SCHEMA) from None
    click.echo("the database is at the newest revision")


def _url(flag: str | None) -> str:
    url = read_config({"database_url": flag}).database_url
    if url is None:
        raise Problem("no database is named: set ORCHESTRATOR_DATABASE_URL, or give --database-url", Exit.CONFIG)
    return url
