"""`orchestrator cancel` and `requeue`: an end to a run, and one that goes on after all."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from orchestrator.cli.remote import Server, server_option
from orchestrator.cli.terminal import escape


@click.command(
    epilog="""\b
Examples:
  orchestrator cancel 01J8Z3M7Q4T5V6W7X8Y9ZABCDE
  orchestrator bulk cancel --function shop-import         many at once
""",
)
@click.argument("run_id", metavar="ID")
@server_option
def cancel(run_id: str, server: Server, as_json: bool) -> None:
    """Cancel the run ID: no further step of it begins."""
    answer = server.request("DELETE", _run_path(run_id))
    click.echo(json.dumps(answer) if as_json else f"cancelled {escape(run_id)}")


@click.command(
    epilog="""\b
Examples:
  orchestrator requeue 01J8Z3M7Q4T5V6W7X8Y9ZABCDE
""",
)
@click.argument("run_id", metavar="ID")
@server_option
def requeue(run_id: str, server: Server, as_json: bool) -> None:
    """Let the run ID go on from its memoised steps, after its workers were lost too often."""
    answer = server.request("POST", f"{_run_path(run_id)}/requeue")
    click.echo(json.dumps(answer) if as_json else f"requeued {escape(run_id)}")


def _run_path(run_id: str) -> str:
    return f"/v1/runs/{quote(run_id, safe='')}"
