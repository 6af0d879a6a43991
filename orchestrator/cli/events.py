"""`orchestrator events` and `event`: what a server received, and what came of it."""

from __future__ import annotations

import time
from urllib.parse import quote, urlencode

import click

from orchestrator.cli.remote import JsonObject, Server, server_option
from orchestrator.cli.shown import (
    as_object,
    as_objects,
    colours,
    date_time,
    print_json,
    print_lines,
    span,
    status_cell,
    value,
)
from orchestrator.cli.table import Cell, table
from orchestrator.cli.terminal import escape

#: Seconds between two looks of --watch.
EVERY = 2.0


@click.command(
    epilog="""\b
Examples:
  orchestrator events
  orchestrator events --name shop/product.imported --limit 5
  orchestrator events --watch
""",
)
@click.option("--name", metavar="NAME", help="Only events of this name.")
@click.option("--limit", type=click.IntRange(1, 50), default=20, show_default=True, help="How many at most.")
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@server_option
def events(name: str | None, limit: int, watch: bool, server: Server, as_json: bool) -> None:
    """List the latest events."""
    query = urlencode({"limit": limit, **({"name": name} if name else {})})
    while True:
        rows = as_objects(server.request("GET", f"/v1/events?{query}").get("data"))
        if watch and not as_json:
            click.clear()
        _print(rows, as_json)
        if not watch:
            return
        time.sleep(EVERY)


@click.command(
    epilog="""\b
Examples:
  orchestrator event 01J8Z3M7Q4T5V6W7X8Y9ZABCDF
  orchestrator event 01J8Z3M7Q4T5V6W7X8Y9ZABCDF --json | jq '.runs[].run_id'
""",
)
@click.argument("event_id", metavar="ID")
@server_option
def event(event_id: str, server: Server, as_json: bool) -> None:
    """Show the event ID and the runs it started."""
    path = f"/v1/events/{quote(event_id, safe='')}"
    found = as_object(server.request("GET", path).get("data"))
    runs = as_objects(server.request("GET", f"{path}/runs").get("data"))
    if as_json:
        print_json(found | {"runs": runs})
        return
    click.echo(f"event     {escape(found.get('internal_id', '?'))}")
    click.echo(f"name      {escape(found.get('name', '?'))}")
    click.echo(f"received  {date_time(found.get('received_at'))}")
    if found.get("warning"):
        click.echo(f"warning   {escape(found['warning'])}")
    click.echo(f"data      {value(found.get('data'), 500)}")
    if not runs:
        click.echo("it started no run; orchestrator functions lists what functions listen to", err=True)
        return
    rows: list[list[Cell | str]] = [
        [
            str(run.get("run_id", "?")),
            status_cell(run),
            str(run.get("function") or "?"),
            span(run.get("run_started_at"), run.get("ended_at")) or "-",
        ]
        for run in runs
    ]
    print_lines(table(("RUN", "STATUS", "FUNCTION", "TOOK"), rows, colours()))


def _print(rows: list[JsonObject], as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    width = max((len(escape(it.get("name", ""))) for it in rows), default=0)
    for it in rows:
        which = f"{escape(it.get('name', '')):<{width}}  {escape(it.get('internal_id') or it.get('id') or '?')}"
        click.echo(f"{date_time(it.get('received_at'))}  {which}  {value(it.get('data'), 80)}")
    if not rows:
        click.echo("no events yet: orchestrator send NAME sends one", err=True)
