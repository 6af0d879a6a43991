"""`orchestrator jobs`: work that a running server gave up, why, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlencode

import click

from orchestrator.cli.remote import Server, server_option
from orchestrator.cli.terminal import escape, shorten

_WIDTH = 160


@click.group(
    epilog="""\b
Examples:
  orchestrator jobs dead
  orchestrator jobs requeue 4711
""",
)
def jobs() -> None:
    """Look at jobs that were given up, requeue or delete them."""


@jobs.command(
    epilog="""\b
Examples:
  orchestrator jobs dead
  orchestrator jobs dead --json | jq -r '.[] | select(.kind == "match").id'
""",
)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many at most.")
@click.option("--before", type=click.IntRange(1), metavar="ID", help="Only jobs older than this one.")
@server_option
def dead(limit: int, before: int | None, server: Server, as_json: bool) -> None:
    """List the jobs that were given up, the newest first, each with its reason."""
    query = urlencode({"state": "dead", "limit": limit, **({"cursor": before} if before else {})})
    found = server.request("GET", f"/v1/jobs?{query}").get("data")
    rows = [it for it in found if isinstance(it, dict)] if isinstance(found, list) else []
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for job in rows:
        about = job.get("run_id") or ", ".join(map(str, job.get("event_ids") or [])) or "-"
        if job.get("function"):
            about = f"{job['function']} {about}"
        why = shorten(escape(job.get("error") or "no reason is known"), _WIDTH)
        click.echo(f"{escape(job.get('id'))}  {escape(job.get('kind')):<9}  {shorten(escape(about), _WIDTH)}  {why}")
    if not rows:
        click.echo("no job is dead", err=True)


@jobs.command(
    epilog="""\b
Examples:
  orchestrator jobs requeue 4711
  orchestrator jobs requeue 4711 4712 4713
""",
)
@click.argument("job_ids", metavar="ID...", type=click.IntRange(1), nargs=-1, required=True)
@server_option
def requeue(job_ids: Sequence[int], server: Server, as_json: bool) -> None:
    """Let dead jobs be done after all; of a run: let it go on from its memoised steps."""
    for job_id in job_ids:
        answer = server.request("POST", f"/v1/jobs/{job_id}/requeue")
        click.echo(json.dumps(answer) if as_json else f"requeued {job_id}")


@jobs.command(
    epilog="""\b
Examples:
  orchestrator jobs delete 4711
""",
)
@click.argument("job_ids", metavar="ID...", type=click.IntRange(1), nargs=-1, required=True)
@server_option
def delete(job_ids: Sequence[int], server: Server, as_json: bool) -> None:
    """Give dead jobs up for good; runs that failed for them stay failed."""
    for job_id in job_ids:
        answer = server.request("DELETE", f"/v1/jobs/{job_id}")
        click.echo(json.dumps(answer) if as_json else f"deleted {job_id}")
