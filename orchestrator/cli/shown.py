"""What a server answers, as people read it: statuses, times, spans, values."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

import click

from orchestrator.cli.remote import JsonObject
from orchestrator.cli.table import Cell
from orchestrator.cli.terminal import clock_time, escape, parse_time, shorten, took, wants_colour

#: Statuses of runs and steps that are told by a colour.
COLOURS = {
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "stopped": "yellow",
    "running": "cyan",
    "sleeping": "blue",
    "waiting": "blue",
}


def colours() -> bool:
    """Whether standard output shows colours."""
    return wants_colour(sys.stdout, os.environ)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines that may have colours; click would take those out where nobody sees them."""
    for line in lines:
        click.echo(line, color=colours())


def print_json(value: object) -> None:
    """Print a value for a program."""
    click.echo(json.dumps(value, indent=2))


def status_of(thing: JsonObject) -> str:
    """The status of a run, a step or an order."""
    return escape(thing.get("status", "?")).lower()


def status_cell(thing: JsonObject) -> Cell:
    """The same in its colour."""
    status = status_of(thing)
    return Cell(status, COLOURS.get(status, ""))


def date_time(value: object) -> str:
    """A moment in local time; a value that is none, as it is."""
    moment = parse_time(value)
    return f"{moment.astimezone():%Y-%m-%d} {clock_time(moment, None)}" if moment else escape(value)


def span(started_at: object, ended_at: object) -> str:
    """How long something took, if it began and ended."""
    started, ended = parse_time(started_at), parse_time(ended_at)
    return took(ended - started) if started and ended else ""


def value(given: object, width: int) -> str:
    """One line of a value: an SDK's error as `Name: message`, a text as it is, the rest as JSON."""
    if isinstance(given, dict) and "name" in given and "message" in given:
        given = f"{given['name']}: {given['message']}"
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return shorten(escape(text), width)


def as_object(given: Any) -> JsonObject:
    """A JSON object, or an empty one in its place."""
    return given if isinstance(given, dict) else {}


def as_objects(given: Any) -> list[JsonObject]:
    """The objects of a JSON array."""
    return [it for it in given if isinstance(it, dict)] if isinstance(given, list) else []
