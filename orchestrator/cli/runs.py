"""`orchestrator runs`: the runs of a server, looked for."""

from __future__ import annotations

import time
from urllib.parse import urlencode

import click

from orchestrator.cli.choice import TIMES, Choice, choosing
from orchestrator.cli.remote import JsonObject, Server, server_option
from orchestrator.cli.shown import as_object, as_objects, colours, date_time, print_json, print_lines, span, status_cell
from orchestrator.cli.table import Cell, table
from orchestrator.cli.terminal import escape

#: Seconds between two looks of --watch.
EVERY = 2.0
_MOST_ON_A_PAGE = 100


@click.command(
    epilog="""\b
Examples:
  orchestrator runs
  orchestrator runs --status failed --since 2h
  orchestrator runs --function shop-import --query 'event.data.userId == "u7"'
  orchestrator runs --status running --watch
  orchestrator runs --status failed --json | jq -r '.[].run_id'
""",
)
@choosing
@click.option("--order-by", type=click.Choice(TIMES), help="The newest by this time first.  [default: queued_at]")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many at most.")
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@server_option
def runs(choice: Choice, order_by: str | None, limit: int, watch: bool, server: Server, as_json: bool) -> None:
    """List runs, the newest first."""
    asked = choice.parameters() | ({"order_by": order_by} if order_by else {})
    while True:
        found, more = _found(server, asked, limit)
        if watch and not as_json:
            click.clear()
        _print(found, more, as_json)
        if not watch:
            return
        time.sleep(EVERY)


def _found(server: Server, asked: dict[str, str], limit: int) -> tuple[list[JsonObject], str | None]:
    """So many runs, page by page, and a sentence about what there is beyond them."""
    found, place = list[JsonObject](), dict[str, str]()
    while True:
        most = min(limit - len(found), _MOST_ON_A_PAGE)
        answer = server.request("GET", f"/v1/runs?{urlencode(asked | place | {'limit': str(most)})}")
        found += as_objects(answer.get("data"))
        page = as_object(answer.get("page"))
        if page.get("error"):
            click.echo(f"the query could not be tried on every run: {escape(page['error'])}", err=True)
        if not page.get("has_more"):
            return found, None
        if len(found) >= limit:
            return found, f"there are more: --limit {limit * 5} shows them, or a narrower choice"
        place = {"cursor": str(page.get("cursor"))}


def _print(found: list[JsonObject], more: str | None, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    rows: list[list[Cell | str]] = [
        [
            str(run.get("run_id", "?")),
            status_cell(run),
            str(run.get("function") or run.get("function_id", "?")),
            str(run.get("event_name", "?")),
            date_time(run.get("queued_at")),
            span(run.get("started_at"), run.get("ended_at")) or "-",
        ]
        for run in found
    ]
    if not rows:
        click.echo("no run is like that; without options `orchestrator runs` lists the latest", err=True)
        return
    print_lines(table(("RUN", "STATUS", "FUNCTION", "EVENT", "QUEUED", "TOOK"), rows, colours()))
    if more:
        click.echo(more, err=True)
