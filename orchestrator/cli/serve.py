"""`orchestrator dev` as click sees it: flags to settings, settings to the output's form, then the server."""

from __future__ import annotations

import os
import sys

import click

from orchestrator import log
from orchestrator.cli.console import ConsoleRenderer
from orchestrator.cli.options import Flags, read_config, server_options
from orchestrator.cli.terminal import wants_colour
from orchestrator.config import Config


@click.command(
    epilog="""\b
Examples:
  orchestrator dev                                         find apps on the usual ports
  orchestrator dev -u http://localhost:5000/api/inngest    this app
  orchestrator dev --app shop.functions                    functions of this module, anew when it changes
  orchestrator dev --persist --port 9000                   keep the state, listen elsewhere
  orchestrator dev --json --log-level warning              records for a program
""",
)
@click.option("--no-reload", is_flag=True, help="With --app: go on as it is when a module changes.")
@server_options
def dev(flags: Flags, no_reload: bool) -> None:
    """Run everything in one process, for development.

    State is temporary unless --persist is given, and whoever reaches the port is trusted. DATABASE_URL, REDIS_URL,
    CLOUDAMQP_URL and PORT are left to the application under development. With --app the server is started anew when a
    module changes; runs go on.
    """
    run(read_config(flags, "dev"), reload=not no_reload)


def run(config: Config, *, reload: bool = False) -> None:
    """Run the server of a mode until it is told to end; with `reload` anew whenever modules of its apps change."""
    configure_output(config)
    if reload and config.apps:
        from orchestrator.cli import reload as reloading

        reloading.run(config)
        return
    from orchestrator.cli import embedded

    embedded.run(config)


def configure_output(config: Config) -> None:
    """Print this process's log records on standard output, for a person or, with `log_json`, for a program."""
    render = log.render_json if config.log_json else ConsoleRenderer(wants_colour(sys.stdout, os.environ))
    log.configure(render, config.log_level, sys.stdout)
