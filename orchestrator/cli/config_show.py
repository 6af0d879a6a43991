"""`orchestrator config show`: every setting, its value with secrets hidden, and where it came from."""

from __future__ import annotations

import json

import click

from orchestrator.cli.options import Flags, read_config, server_options
from orchestrator.cli.terminal import escape
from orchestrator.config import describe


@click.group()
def config() -> None:
    """Look at the settings."""


@config.command(
    epilog="""\b
Examples:
  orchestrator config show
  ORCHESTRATOR_PORT=9000 orchestrator config show
  orchestrator config show --mode dev --port 9000 --json
""",
)
@click.option("--mode", metavar="MODE", help="As `dev` or as `start` would see it.  [default: start]")
@server_options
def show(flags: Flags, mode: str | None) -> None:
    """Print each setting with its source; secrets are hidden.

    A flag wins over ORCHESTRATOR_<NAME>, that over INNGEST_<NAME>, that (but in dev) over DATABASE_URL, CLOUDAMQP_URL,
    REDIS_URL and PORT, those over the file (orchestrator.toml or inngest.json, here or above), and that over the
    default.
    """
    as_json = flags.get("log_json", False)
    settings = {name: value for name, value in flags.items() if name != "log_json"}
    rows = describe(read_config(settings, mode))
    if as_json:
        click.echo(json.dumps({name: {"value": value, "source": source} for name, value, source in rows}, indent=2))
        return
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, source in rows:
        click.echo(f"{name:<{widths[0]}}  {escape(value):<{widths[1]}}  {escape(source)}".rstrip())
