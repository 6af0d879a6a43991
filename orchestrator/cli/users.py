"""`orchestrator users`: who may use the dashboard of a production server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.explained import explained
from orchestrator.cli.options import read_config
from orchestrator.cli.problem import Problem
from orchestrator.cli.terminal import escape
from orchestrator.core.role import Role

if TYPE_CHECKING:
    from orchestrator.config import Config
    from orchestrator.store.database import Database

Command = TypeVar("Command", bound=Callable[..., Any])

_ROLES = click.Choice([role.value for role in Role])
_ACTOR = "the command line"


@click.group(
    epilog="""\b
Examples:
  orchestrator users new ada --role admin          asks for a password
  orchestrator users new ben --generate            prints one
  orchestrator users password ada < password.txt
  orchestrator users list
  orchestrator users role ben viewer
  orchestrator users remove ben
""",
)
def users() -> None:
    """Say who may use the dashboard, and in which role.

    A viewer sees everything, an operator acts on runs, functions and apps, an admin decides about users, too.
    """


def _database_option(command: Command) -> Command:
    return click.option(
        "--database-url",
        metavar="URL",
        help="The database.  [default: ORCHESTRATOR_DATABASE_URL, DATABASE_URL, file, or that in the state directory]",
    )(command)


def _generate_option(command: Command) -> Command:
    return click.option("--generate", is_flag=True, help="Make a password and print it, instead of asking for one.")(
        command
    )


@users.command(
    epilog="""\b
Examples:
  orchestrator users new ada --role admin
  orchestrator users new ben --role viewer --generate
  printf '%s' "$PASSWORD" | orchestrator users new ci
""",
)
@click.argument("name")
@click.option("--role", type=_ROLES, default=Role.OPERATOR.value, show_default=True, help="What they may do.")
@_generate_option
@_database_option
def new(name: str, role: str, generate: bool, database_url: str | None) -> None:
    """Let somebody in; without a terminal the password is read from standard input."""
    with _database(database_url) as database:
        from orchestrator.engine.users import add_user, user_name

        known, chosen = user_name(name), _password(generate)
        add_user(database, known, Role(role), chosen, _now(), _ACTOR)
    _tell(chosen, generate)
    click.echo(f"{known} may sign in as {role}", err=generate)


@users.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_database_option
def list_users(as_json: bool, database_url: str | None) -> None:
    """List everybody with their role and when they signed in last."""
    with _database(database_url) as database:
        from orchestrator.store.users import all_users

        with database.read() as conn:
            found = all_users(conn)
    rows = [
        {
            "name": user.name,
            "role": user.role.value,
            "created_at": user.created_at.isoformat(),
            "signed_in_at": user.signed_in_at.isoformat() if user.signed_in_at else None,
        }
        for user in found
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{escape(row['name']):<24}  {row['role']:<8}  signed in {row['signed_in_at'] or 'never'}")
    if not rows:
        click.echo("there are no users: `orchestrator users new NAME --role admin` makes the first", err=True)


@users.command()
@click.argument("name")
@click.argument("role", type=_ROLES)
@_database_option
def role(name: str, role: str, database_url: str | None) -> None:
    """Give somebody another role, from their next click on."""
    with _database(database_url) as database:
        from orchestrator.engine.users import set_role

        user = set_role(database, name, Role(role), _now(), _ACTOR)
    click.echo(f"{user.name} is {role} now")


@users.command()
@click.argument("name")
@_generate_option
@_database_option
def password(name: str, generate: bool, database_url: str | None) -> None:
    """Give somebody another password; whatever they have open is signed out."""
    with _database(database_url) as database:
        from orchestrator.engine.users import set_password

        chosen = _password(generate)
        user = set_password(database, name, chosen, _now(), _ACTOR)
    _tell(chosen, generate)
    click.echo(f"{user.name} has another password now", err=generate)


@users.command()
@click.argument("name")
@_database_option
def remove(name: str, database_url: str | None) -> None:
    """Let somebody in no more, at once."""
    with _database(database_url) as database:
        from orchestrator.engine.users import remove_user

        user = remove_user(database, name, _now(), _ACTOR)
    click.echo(f"{user.name} is removed")


def _password(generate: bool) -> str:
    if generate:
        from orchestrator.engine.passwords import new_password

        return new_password()
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    return sys.stdin.readline().rstrip("\r\n")


def _tell(password: str, generated: bool) -> None:
    """Print a password that was made, once it is somebody's."""
    if generated:
        click.echo(password)


@contextmanager
def _database(flag: str | None) -> Iterator[Database]:
    config = read_config({"database_url": flag})
    with explained():
        from orchestrator.store import schema
        from orchestrator.store.database import Database

        url = _url(config)
        schema.check(url)
        database = Database(url)
        try:
            yield database
        finally:
            database.close()


def _url(config: Config) -> str:
    """The database of the configuration, or the one that `orchestrator start` keeps; that may be in use."""
    if config.database_url is not None:
        return config.database_url
    file = config.state_dir.resolve() / "state.db"
    if file.is_file():
        return f"sqlite:///{file}"
    raise Problem(
        f"no database is named, and there is none in {config.state_dir}: set ORCHESTRATOR_DATABASE_URL, "
        "give --database-url, or start the server once",
        Exit.CONFIG,
    )


def _now() -> datetime:
    return datetime.now(UTC)
