"""`orchestrator run`, `events`, `cancel` and `requeue`: what a running server did, and an end to it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import click

from orchestrator.cli.remote import JsonObject, Server, server_option
from orchestrator.cli.terminal import clock_time, escape, paint, parse_time, shorten, took, wants_colour

VALUE_WIDTH = 500

_STATUS_COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


@click.command(
    epilog="""\b
Examples:
  orchestrator run 01J8Z3M7Q4T5V6W7X8Y9ZABCDE
  orchestrator run 01J8Z3M7Q4T5V6W7X8Y9ZABCDE --json | jq .output
""",
)
@click.argument("run_id", metavar="ID")
@server_option
def run(run_id: str, server: Server, as_json: bool) -> None:
    """Show the run ID: its status, its steps, and what came out."""
    found = _object(server.request("GET", _run_path(run_id)).get("data"))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for line in _run_lines(found, wants_colour(sys.stdout, os.environ)):
        click.echo(line)


@click.command(
    epilog="""\b
Examples:
  orchestrator events
  orchestrator events --name shop/product.imported --limit 5
""",
)
@click.option("--name", metavar="NAME", help="Only events of this name.")
@click.option("--limit", type=click.IntRange(1, 50), default=20, show_default=True, help="How many at most.")
@server_option
def events(name: str | None, limit: int, server: Server, as_json: bool) -> None:
    """List the latest events."""
    query = urlencode({"limit": limit, **({"name": name} if name else {})})
    found = server.request("GET", f"/v1/events?{query}").get("data")
    rows = [_object(event) for event in found] if isinstance(found, list) else []
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    width = max((len(escape(event.get("name", ""))) for event in rows), default=0)
    for event in rows:
        when = _date_time(event.get("received_at"))
        which = (
            f"{escape(event.get('name', '')):<{width}}  {escape(event.get('internal_id') or event.get('id') or '?')}"
        )
        click.echo(f"{when}  {which}  {_value(event.get('data'), 80)}")
    if not rows:
        click.echo("no events yet: orchestrator send NAME sends one", err=True)


@click.command(
    epilog="""\b
Examples:
  orchestrator cancel 01J8Z3M7Q4T5V6W7X8Y9ZABCDE
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


def _run_lines(run: JsonObject, colour: bool) -> Iterator[str]:
    status = escape(run.get("status", "?")).lower()
    yield f"run       {escape(run.get('run_id', '?'))}"
    yield f"function  {escape(run.get('function') or run.get('function_id', '?'))}"
    yield f"status    {paint(status, _STATUS_COLOURS.get(status, ''), colour)}"
    if run.get("run_started_at"):
        yield f"started   {_date_time(run['run_started_at'])}"
    if run.get("ended_at"):
        yield f"ended     {_date_time(run['ended_at'])}{_span(run.get('run_started_at'), run['ended_at'])}"
    steps = run.get("steps")
    if isinstance(steps, list) and steps:
        yield "steps"
        yield from _step_lines([_object(step) for step in steps], colour)
    if run.get("output") is not None:
        yield f"{'error' if status == 'failed' else 'output':<8}  {_value(run['output'], VALUE_WIDTH)}"


def _step_lines(steps: list[JsonObject], colour: bool) -> Iterator[str]:
    names = [escape(step.get("name") or step.get("id") or "?") for step in steps]
    width = max(map(len, names))
    for step, name in zip(steps, names, strict=True):
        status = escape(step.get("status", "?")).lower()
        shown = paint(f"{status:<9}", _STATUS_COLOURS.get(status, ""), colour)
        attempts = step.get("attempts")
        tries = f"   {attempts} attempts" if isinstance(attempts, int) and attempts > 1 else ""
        error = f"   {_value(step['error'], 160)}" if step.get("error") else ""
        span = _span(step.get("started_at"), step.get("ended_at"))
        yield f"  {shown}  {name:<{width}}{span}{tries}{error}".rstrip()


def _date_time(value: object) -> str:
    moment = parse_time(value)
    return f"{moment.astimezone():%Y-%m-%d} {clock_time(moment, None)}" if moment else escape(value)


def _span(started_at: object, ended_at: object) -> str:
    started, ended = parse_time(started_at), parse_time(ended_at)
    return f"   {took(ended - started)}" if started and ended else ""


def _value(value: object, width: int) -> str:
    """One line of a value: an SDK's error as `Name: message`, a text as it is, the rest as JSON."""
    if isinstance(value, dict) and "name" in value and "message" in value:
        value = f"{value['name']}: {value['message']}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shorten(escape(text), width)


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}
