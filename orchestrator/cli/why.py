"""`orchestrator why`: why a run does not go on right now."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from orchestrator.cli.remote import Server, server_option
from orchestrator.cli.terminal import escape


@click.command(
    epilog="""\b
Examples:
  orchestrator why 01J8Z3M7Q4T5V6W7X8Y9ZABCDE
  orchestrator why --event 01J8Z3M7Q4T5V6W7X8Y9ZABCDF
  orchestrator why 01J8Z3M7Q4T5V6W7X8Y9ZABCDE --json | jq .[0].details.run_ids
""",
)
@click.argument("run_id", metavar="RUN")
@click.option("--event", is_flag=True, help="RUN is the id of an event: say in which debounce or batch it waits.")
@server_option
def why(run_id: str, event: bool, server: Server, as_json: bool) -> None:
    """Say why RUN does not go on right now: what it waits for, for how long, and who is in its way."""
    if event:
        _why_event(run_id, server, as_json)
        return
    run = server.request("GET", f"/v1/runs/{quote(run_id, safe='')}").get("data")
    found = run if isinstance(run, dict) else {}
    waits = [wait for wait in found.get("waits") or [] if isinstance(wait, dict)]
    if as_json:
        click.echo(json.dumps(waits, indent=2))
        return
    status = escape(found.get("status", "?")).lower()
    if not waits:
        over = status not in ("running", "scheduled")
        click.echo(f"{escape(run_id)} is {status}: it {'is over' if over else 'is at work, or about to be'}")
        return
    for wait in waits:
        click.echo(escape(wait.get("sentence", "?")))
        for missed in (wait.get("details") or {}).get("last") or []:
            told = f"{escape(missed.get('id', '?'))} at {escape(missed.get('received_at', '?'))}"
            click.echo(f"  event {told} did not match: {escape(missed.get('why', '?'))}")


def _why_event(event_id: str, server: Server, as_json: bool) -> None:
    found = server.request("GET", f"/v1/events/{quote(event_id, safe='')}/waits").get("data")
    waits = [wait for wait in found if isinstance(wait, dict)] if isinstance(found, list) else []
    if as_json:
        click.echo(json.dumps(waits, indent=2))
        return
    for wait in waits:
        click.echo(escape(wait.get("sentence", "?")))
    if not waits:
        click.echo(f"{escape(event_id)} waits in no debounce and no batch; orchestrator events shows its runs")
