"""`orchestrator send`: one event from a shell."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn
from urllib.parse import quote

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.remote import Server, server_option
from orchestrator.cli.terminal import escape


@click.command(
    epilog="""\b
Examples:
  orchestrator send shop/product.imported '{"productId": 7}'
  orchestrator send report/asked                      no data
  orchestrator send shop/order.paid - < order.json    data from standard input
  orchestrator send shop/order.paid '{}' --id order-7-paid    sent twice, it counts once
""",
)
@click.argument("name")
@click.argument("data", default="{}")
@click.option("--id", "event_id", metavar="ID", help="The sender's own id; a second event with it starts nothing.")
@click.option(
    "--event-key",
    envvar=["ORCHESTRATOR_EVENT_KEY", "ORCHESTRATOR_EVENT_KEYS", "INNGEST_EVENT_KEY"],
    default="dev",
    metavar="KEY",
    help="Key of the event API; `dev` servers take any.",
)
@server_option
def send(name: str, data: str, event_id: str | None, event_key: str, server: Server, as_json: bool) -> None:
    """Send the event NAME with DATA, a JSON object."""
    event: dict[str, Any] = {"name": name, "data": json_object(data)}
    if event_id:
        event["id"] = event_id
    key = quote(event_key.split(",")[0].strip(), safe="")
    answer = server.request("POST", f"/e/{key}", event)
    if as_json:
        click.echo(json.dumps(answer))
        return
    ids = answer.get("ids")
    if not isinstance(ids, list) or not ids:
        raise Problem(f"the server took nothing: {escape(answer.get('error') or 'no reason given')}", Exit.REFUSED)
    click.echo(f"sent {escape(name)}  {escape(ids[0])}")


def json_object(text: str) -> dict[str, Any]:
    """The JSON object in an argument, or in standard input where that is `-`."""
    text = sys.stdin.read() if text == "-" else text
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise Problem(
            f"DATA is not JSON: {error.msg} at line {error.lineno}, column {error.colno}: "
            "keys and texts stand in double quotes, the whole in single quotes of the shell",
            Exit.USAGE,
        ) from None
    if not isinstance(data, dict):
        raise Problem('DATA must be a JSON object, such as {"productId": 7}', Exit.USAGE)
    return data


def _no_constant(name: str) -> NoReturn:
    raise Problem(f"DATA holds {name}, which JSON does not know", Exit.USAGE)
