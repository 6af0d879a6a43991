"""`orchestrator apps` and `sync`: the apps a server knows, and asking one for its functions."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.remote import Server, server_option
from orchestrator.cli.shown import as_object, as_objects, colours, date_time, print_json, print_lines
from orchestrator.cli.table import Cell, table
from orchestrator.cli.terminal import escape

#: In the place of a name where an app is asked for by its address.
_BY_URL = "by-url"


@click.command(
    epilog="""\b
Examples:
  orchestrator apps
  orchestrator apps --json | jq -r '.[] | select(.error).url'
""",
)
@server_option
def apps(server: Server, as_json: bool) -> None:
    """List the apps, those included that could not be synced, with the reason."""
    found = as_objects(server.request("GET", "/v1/apps").get("data"))
    if as_json:
        print_json(found)
        return
    rows: list[list[Cell | str]] = [
        [
            str(app.get("name") or "(not synced)"),
            str(app.get("function_count", "?")),
            f"{app.get('sdk_language') or '?'} {app.get('sdk_version') or ''}".strip(),
            date_time(app["synced_at"]) if app.get("synced_at") else "never",
            str(app.get("url", "?")),
            Cell(str(app.get("error") or ""), "red"),
        ]
        for app in found
    ]
    if not rows:
        click.echo("no app yet: orchestrator sync URL asks one for its functions", err=True)
        return
    print_lines(table(("APP", "FUNCTIONS", "SDK", "SYNCED", "URL", ""), rows, colours()))


@click.command(
    epilog="""\b
Examples:
  orchestrator sync http://localhost:5000/api/inngest
  orchestrator sync shop                                 an app that is known, once more
""",
)
@click.argument("app", metavar="URL|APP")
@server_option
def sync(app: str, server: Server, as_json: bool) -> None:
    """Ask the app at URL, or the known app APP, for its functions."""
    by_url = "://" in app
    path = f"/v2/apps/{_BY_URL if by_url else quote(app, safe='')}/syncs"
    answer = as_object(server.request("POST", path, {"url": app} if by_url else {}).get("data"))
    if as_json:
        click.echo(json.dumps(answer))
    failed = str(answer.get("status", "?")).lower() not in ("success", "duplicate", "pending")
    if failed:
        why = answer.get("error") or "no reason given"
        why = as_object(why).get("message") or why
        raise Problem(f"{escape(app)} was not synced: {escape(why)}", Exit.REFUSED)
    if not as_json:
        click.echo(f"synced {escape(answer.get('appId') or app)}; orchestrator functions lists what it serves")
