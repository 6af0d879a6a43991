"""`orchestrator retention`: how long things are kept, what would go today, and letting it go now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.explained import explained
from orchestrator.cli.options import read_config
from orchestrator.cli.problem import Problem

if TYPE_CHECKING:
    from orchestrator.store.database import Database
    from orchestrator.store.retention import Keep

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(
    epilog="""\b
Examples:
  orchestrator retention show                       what would go if a pass were made now
  orchestrator retention run                        make one
  ORCHESTRATOR_RETENTION_RUNS=7d orchestrator retention show
""",
)
def retention() -> None:
    """Look at what is kept for how long, or delete what is over now."""


def _options(command: Command) -> Command:
    url = click.option(
        "--database-url", metavar="URL", help="The database.  [default: ORCHESTRATOR_DATABASE_URL, DATABASE_URL, file]"
    )
    return url(click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command))


@retention.command(
    epilog="""\b
Examples:
  orchestrator retention show
  orchestrator retention show --json | jq .would_free.runs
""",
)
@_options
def show(database_url: str | None, as_json: bool) -> None:
    """Count what a pass would delete now; nothing is deleted.

    Events of the runs that would go are not counted: they go with the same pass.
    """
    with _database(database_url) as (database, keep):
        from orchestrator.engine.retain import would_free
        from orchestrator.store import chores
        from orchestrator.store.retention import RULES

        counted = would_free(database, keep, _now())
        with database.read() as conn:
            last = chores.read(conn, chores.RETENTION)
    kept = {stage: rule.span(keep) for stage, rule in RULES.items()}
    ended_at = last.ended_at.isoformat() if last is not None and last.ended_at is not None else None
    freed = dict(last.last_freed) if last is not None else {}
    if as_json:
        spans = {stage: span.total_seconds() for stage, span in kept.items()}
        told = {"kept_seconds": spans, "would_free": counted, "last_pass_ended_at": ended_at, "last_freed": freed}
        click.echo(json.dumps(told, indent=2))
        return
    for stage, span in kept.items():
        click.echo(f"{stage:<10}  kept {_span(span):<10}  {counted[stage]} would go now")
    click.echo(f"last pass   {ended_at or 'never'}{_told(freed, ': ')}")


@retention.command(
    epilog="""\b
Examples:
  orchestrator retention run
""",
)
@_options
def run(database_url: str | None, as_json: bool) -> None:
    """Delete what is over now, all of it; it can be stopped at any time, and workers may be at it too."""
    with _database(database_url) as (database, keep):
        from orchestrator.engine.retain import retain

        freed = retain(database, keep, _now())
    click.echo(json.dumps(freed) if as_json else f"deleted{_told(freed, ' ') or ' nothing'}")


@contextmanager
def _database(flag: str | None) -> Iterator[tuple[Database, Keep]]:
    config = read_config({"database_url": flag})
    if config.database_url is None:
        raise Problem("no database is named: set ORCHESTRATOR_DATABASE_URL, or give --database-url", Exit.CONFIG)
    with explained():
        from orchestrator import bootstrap
        from orchestrator.store import schema
        from orchestrator.store.database import Database

        schema.check(config.database_url)
        database = Database(config.database_url)
        try:
            yield database, bootstrap.keep(config)
        finally:
            database.close()


def _now() -> datetime:
    return datetime.now(UTC)


def _span(span: timedelta) -> str:
    from orchestrator.config.kinds import show as written

    return written(span) if span else "for ever"


def _told(freed: Mapping[str, int], before: str) -> str:
    parts = [f"{count} of {table}" for table, count in freed.items() if count]
    return before + ", ".join(parts) if parts else ""
