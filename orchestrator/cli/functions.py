"""`orchestrator functions set`: what an operator may say of a function, and its SDK cannot."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.remote import Server, server_option
from orchestrator.cli.terminal import escape

_SETTINGS = {"wait-look-back": "wait_look_back"}
_VALUES = {"true": True, "false": False}


@click.group(
    epilog="""\b
Examples:
  orchestrator functions set shop-order-paid wait-look-back=true
""",
)
def functions() -> None:
    """Set what the SDKs cannot say of a function."""


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
