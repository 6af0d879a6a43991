"""`orchestrator start`: the production server as one command."""

from __future__ import annotations

import click

from orchestrator.cli.options import Flags, read_config, server_options
from orchestrator.cli.serve import run
from orchestrator.config import require_secrets


@click.command(
    epilog="""\b
Examples:
  orchestrator keys new > .env && set -a && . ./.env       make the keys, once
  orchestrator start -u https://shop.example/api/inngest   with this app
  DATABASE_URL=postgres://... orchestrator start           on this database, after `orchestrator db upgrade`
  orchestrator start --allowed-networks 10.0.0.0/8         apps live in this network
""",
)
@server_options
def start(flags: Flags) -> None:
    """Run everything in one process, for production.

    Needs a signing key (ORCHESTRATOR_SIGNING_KEY) and event keys (ORCHESTRATOR_EVENT_KEYS). The state is kept in
    --state-dir unless a database is named. Apps at private addresses are called in --allowed-networks only.
    """
    config = read_config(flags, "start")
    require_secrets(config)
    run(config)
