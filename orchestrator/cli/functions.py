"""`orchestrator functions`: what apps declare, and what an operator may say of a function while its SDK cannot."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.remote import JsonObject, Server, server_option
from orchestrator.cli.shown import as_object, as_objects, colours, print_json, print_lines
from orchestrator.cli.table import Cell, table
from orchestrator.cli.terminal import escape, shorten

_SETTINGS = {"wait-look-back": "wait_look_back"}
_VALUES = {"true": True, "false": False}


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  orchestrator functions
  orchestrator functions --app shop --json | jq '.[].config.triggers'
  orchestrator functions set shop-order-paid wait-look-back=true
""",
)
@click.option("--app", metavar="NAME", help="Only functions of this app.")
@server_option
@click.pass_context
def functions(ctx: click.Context, app: str | None, server: Server, as_json: bool) -> None:
    """List the functions; or `set` what the SDKs cannot say of one."""
    if ctx.invoked_subcommand is not None:
        return
    names = [app] if app else [str(it["name"]) for it in _apps(server) if it.get("name")]
    found = [it for name in names for it in as_objects(server.array(f"/v1/apps/{quote(name, safe='')}/functions"))]
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no function yet: orchestrator sync URL asks an app for its functions", err=True)
        return
    print_lines(table(("FUNCTION", "NAME", "TRIGGERS", "STATE"), [_row(it) for it in found], colours()))


def _apps(server: Server) -> list[JsonObject]:
    return as_objects(server.request("GET", "/v1/apps").get("data"))


def _row(function: JsonObject) -> list[Cell | str]:
    triggers = as_objects(as_object(function.get("config")).get("triggers"))
    shown = ", ".join(str(it.get("event") or it.get("cron") or "?") for it in triggers)
    state = Cell("removed", "dim") if function.get("archived_at") else Cell("active", "green")
    state = Cell("paused", "yellow") if function.get("paused_at") else state
    return [str(function.get("id", "?")), str(function.get("name", "?")), shorten(shown or "-", 60), state]


@functions.command(
    "set",
    epilog="""\b
Examples:
  orchestrator functions set shop-order-paid wait-look-back=true
""",
)
@click.argument("slug")
@click.argument("setting", metavar="NAME=VALUE")
@server_option
def set_(slug: str, setting: str, server: Server, as_json: bool) -> None:
    """Set NAME of the function SLUG to VALUE; it stays through syncs.

    wait-look-back=true: its waits also take events that came between the run's start and the wait.
    """
    name, _, value = setting.partition("=")
    if name not in _SETTINGS or value not in _VALUES:
        raise Problem(f"NAME=VALUE must be wait-look-back=true or wait-look-back=false, not {setting!r}", Exit.USAGE)
    path = f"/v1/functions/{quote(slug, safe='')}"
    found = server.request("PATCH", path, {_SETTINGS[name]: _VALUES[value]}).get("data")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{escape(slug)}: {name} is {value}")


@click.command(
    epilog="""\b
Examples:
  orchestrator pause shop-order-paid
""",
)
@click.argument("slug", metavar="FUNCTION")
@server_option
def pause(slug: str, server: Server, as_json: bool) -> None:
    """Let FUNCTION start no runs; those that have begun go on.

    Events that come meanwhile are kept as skipped runs.
    """
    answer = server.request("POST", f"/v1/functions/{quote(slug, safe='')}/pause")
    click.echo(
        json.dumps(answer) if as_json else f"paused {escape(slug)}; orchestrator resume {escape(slug)} ends that"
    )


@click.command(
    epilog="""\b
Examples:
  orchestrator resume shop-order-paid
""",
)
@click.argument("slug", metavar="FUNCTION")
@server_option
def resume(slug: str, server: Server, as_json: bool) -> None:
    """Let FUNCTION start runs again, those first that were held."""
    answer = server.request("POST", f"/v1/functions/{quote(slug, safe='')}/resume")
    click.echo(json.dumps(answer) if as_json else f"resumed {escape(slug)}")
