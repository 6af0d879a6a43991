"""`orchestrator bulk`: many runs cancelled, or run again, by an order that workers carry out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click

from orchestrator.cli.choice import Choice, choosing
from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.remote import JsonObject, Server, server_option
from orchestrator.cli.shown import (
    as_object,
    as_objects,
    colours,
    date_time,
    print_json,
    print_lines,
    status_cell,
    status_of,
)
from orchestrator.cli.table import Cell, table
from orchestrator.cli.terminal import escape

Command = TypeVar("Command", bound=Callable[..., Any])

#: Seconds between two looks at how far an order got.
EVERY = 0.5
_DONE = {"cancel": "cancelled", "rerun": "run again"}


@click.group(
    epilog="""\b
Examples:
  orchestrator bulk rerun --function shop-import --status failed --since 2h --dry-run
  orchestrator bulk rerun --function shop-import --status failed --since 2h --rate 20
  orchestrator bulk cancel --app shop --query 'event.data.plan == "free"'
  orchestrator bulk list
  orchestrator bulk stop 01J8Z3M7Q4T5V6W7X8Y9ZABCDE
""",
)
def bulk() -> None:
    """Cancel many runs, or run them again."""


def _ordering(command: Command) -> Command:
    for option in (
        click.option("--rate", type=click.IntRange(1, 10_000), metavar="N", help="So many runs a second at most."),
        click.option("--dry-run", is_flag=True, help="Only count the runs."),
        click.option("--yes", is_flag=True, help="Do not ask whether that is meant."),
        click.option("--detach", is_flag=True, help="Give the order and return; do not show how far it got."),
    ):
        command = option(command)
    return server_option(choosing(command))


@bulk.command(
    epilog="""\b
Examples:
  orchestrator bulk rerun --status failed --since 1d --dry-run
  orchestrator bulk rerun --status failed --function shop-import --query 'output.name == "TimeoutError"' --yes
""",
)
@_ordering
def rerun(**options: Any) -> None:
    """Run the runs again that are chosen; say at least of which status."""
    _order("rerun", **options)


@bulk.command(
    epilog="""\b
Examples:
  orchestrator bulk cancel --function shop-remind --dry-run
  orchestrator bulk cancel --app shop --until 7d --yes --detach
""",
)
@_ordering
def cancel(**options: Any) -> None:
    """Cancel the runs that are chosen and have not ended."""
    _order("cancel", **options)


@bulk.command(
    "list",
    epilog="""\b
Examples:
  orchestrator bulk list
  orchestrator bulk list --json | jq '.[] | select(.status == "Running")'
""",
)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many at most.")
@server_option
def list_(limit: int, server: Server, as_json: bool) -> None:
    """List the orders, the newest first, and how far each got."""
    found = as_objects(server.request("GET", f"/v1/bulk?limit={limit}").get("data"))
    if as_json:
        print_json(found)
        return
    rows: list[list[Cell | str]] = [
        [
            str(it.get("id")),
            str(it.get("kind")),
            status_cell(it),
            f"{it.get('done', 0)} of {it['total'] if it.get('total') is not None else '?'}",
            str(it.get("failed", 0)),
            date_time(it.get("created_at")),
            str(it.get("actor") or "-"),
        ]
        for it in found
    ]
    if not rows:
        click.echo("no order was given yet: orchestrator bulk --help", err=True)
        return
    print_lines(table(("ORDER", "KIND", "STATUS", "DONE", "FAILED", "GIVEN", "BY"), rows, colours()))


@bulk.command(
    epilog="""\b
Examples:
  orchestrator bulk show 01J8Z3M7Q4T5V6W7X8Y9ZABCDE
  orchestrator bulk show 01J8Z3M7Q4T5V6W7X8Y9ZABCDE --watch
""",
)
@click.argument("order_id", metavar="ORDER")
@click.option("--watch", is_flag=True, help="Show how it gets on, until it is over.")
@server_option
def show(order_id: str, watch: bool, server: Server, as_json: bool) -> None:
    """Show how far ORDER got."""
    found = _read(server, order_id)
    if watch:
        found = _follow(server, found, quietly=as_json)
    if as_json:
        print_json(found)
    elif not watch:
        click.echo(_sentence(found))


@bulk.command(
    epilog="""\b
Examples:
  orchestrator bulk stop 01J8Z3M7Q4T5V6W7X8Y9ZABCDE
""",
)
@click.argument("order_id", metavar="ORDER")
@server_option
def stop(order_id: str, server: Server, as_json: bool) -> None:
    """Let ORDER do nothing more; what it has done stays."""
    found = as_object(server.request("POST", f"{_path(order_id)}/stop").get("data"))
    click.echo(json.dumps(found) if as_json else _sentence(found))


def _order(
    kind: str,
    choice: Choice,
    rate: int | None,
    dry_run: bool,
    yes: bool,
    detach: bool,
    server: Server,
    as_json: bool,
) -> None:
    body: dict[str, object] = {"kind": kind, "filter": choice.body()} | ({"rate": rate} if rate else {})
    if dry_run or not yes:
        counted = as_object(server.request("POST", "/v1/bulk", body | {"dry_run": True}).get("data"))
        if dry_run:
            click.echo(json.dumps(counted) if as_json else f"{_meant(counted)} would be {_DONE[kind]}")
            return
        _ask(kind, counted)
    order = as_object(server.request("POST", "/v1/bulk", body).get("data"))
    if not detach:
        order = _follow(server, order, quietly=as_json)
    if as_json:
        print_json(order)
    elif detach:
        order_id = escape(order.get("id", "?"))
        click.echo(f"ordered {order_id}: orchestrator bulk show {order_id} --watch, or: bulk stop {order_id}")


def _ask(kind: str, counted: JsonObject) -> None:
    """Let a person say whether that is meant; a program has to say so with --yes."""
    if not sys.stdin.isatty():
        raise Problem(f"{_meant(counted)} would be {_DONE[kind]}: say --yes if that is meant", Exit.USAGE)
    click.confirm(f"{_meant(counted)} will be {_DONE[kind]}. Go on?", abort=True, err=True)


def _meant(counted: JsonObject) -> str:
    if counted.get("total") is None:
        return f"at least {counted.get('at_least', '?')} runs"
    return "1 run" if counted["total"] == 1 else f"{counted['total']} runs"


def _follow(server: Server, order: JsonObject, *, quietly: bool) -> JsonObject:
    """Show how an order gets on until it is over; Ctrl-C leaves it running and says how to stop it."""
    order_id, live = str(order.get("id", "?")), sys.stderr.isatty() and not quietly
    try:
        while status_of(order) == "running":
            if live:
                click.echo(f"\r{_sentence(order)}   ", nl=False, err=True)
            time.sleep(EVERY)
            order = _read(server, order_id)
    except KeyboardInterrupt:
        click.echo(f"\nit goes on without you; to stop it: orchestrator bulk stop {escape(order_id)}", err=True)
        raise
    if live:
        click.echo("\r", nl=False, err=True)
    if not quietly:
        click.echo(_sentence(order))
    if status_of(order) == "failed":
        raise Problem(f"the order {escape(order_id)} was given up: orchestrator jobs dead says why", Exit.FAILED)
    return order


def _sentence(order: JsonObject) -> str:
    total = order.get("total")
    of_all = f" of {total}" if total is not None else ""
    failed = f", {order['failed']} could not be" if order.get("failed") else ""
    why = f" ({escape(order['error'])})" if order.get("error") else ""
    return (
        f"{status_of(order)}: {order.get('done', 0)}{of_all} {_DONE.get(str(order.get('kind')), 'done')}{failed}{why}"
    )


def _read(server: Server, order_id: str) -> JsonObject:
    return as_object(server.request("GET", _path(order_id)).get("data"))


def _path(order_id: str) -> str:
    return f"/v1/bulk/{quote(order_id, safe='')}"
