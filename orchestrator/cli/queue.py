"""`orchestrator queue`: how far behind a server is and why, who works, and how its database and broker are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from orchestrator.cli.remote import JsonObject, Server, server_option
from orchestrator.cli.shown import as_object, as_objects, colours, date_time, print_json, print_lines
from orchestrator.cli.table import Cell, table
from orchestrator.cli.terminal import escape, parse_time, took

_STATES = ("due", "working", "parked", "held", "later", "dead")
_OWN = {"match": "(events to be looked at)", "clock": "(crons, timers, orders)"}


@click.command(
    epilog="""\b
Examples:
  orchestrator queue
  orchestrator queue --json | jq -r '.waits[].sentence'
""",
)
@server_option
def queue(server: Server, as_json: bool) -> None:
    """Say what is to be done and why it waits, who works, and how database and broker are."""
    answer = server.request("GET", "/v1/queue")
    found = as_object(answer.get("data"))
    if as_json:
        print_json(found)
        return
    now = parse_time(as_object(answer.get("metadata")).get("fetched_at")) or datetime.now(UTC)
    print_lines(_told(found, now))


def _told(found: JsonObject, now: datetime) -> Iterator[str]:
    counts = as_object(found.get("counts"))
    oldest = parse_time(found.get("oldest_due_at"))
    yield ", ".join(f"{_count(counts.get(state))} {state}" for state in _STATES)
    yield f"the oldest job that is due has waited {took(now - oldest)}" if oldest else "no job that is due waits"
    lines = as_objects(found.get("functions"))
    if lines:
        yield ""
        heads = ("FUNCTION", "DUE", "WORKING", "PARKED", "HELD", "LATER")
        yield from table(heads, [_line(it) for it in lines], colours())
    waits = as_objects(found.get("waits"))
    if waits:
        yield ""
        yield from (_wait(it) for it in waits)
    yield ""
    yield from _workers(as_objects(found.get("workers")))
    yield from _health(as_object(found.get("database")), as_object(found.get("broker")))


def _count(given: object) -> str:
    count = as_object(given)
    return f"{escape(count.get('number', '?'))}{'' if count.get('exact') else '+'}"


def _line(line: JsonObject) -> list[Cell | str]:
    name = line.get("function") or _OWN.get(str(line.get("own")), "?")
    return [str(name), *(str(line.get(state) or "-") for state in ("due", "working", "parked", "held", "later"))]


def _wait(wait: JsonObject) -> str:
    until = f"; the next at {date_time(wait['until'])}" if wait.get("until") else ""
    runs = ", ".join(escape(it) for it in wait.get("run_ids") or ())
    in_the_way = f" (at work: {runs})" if runs else ""
    return (
        f"{escape(wait.get('function') or 'several functions')}: {escape(wait.get('sentence', '?'))}{until}{in_the_way}"
    )


def _workers(found: list[JsonObject]) -> Iterator[str]:
    if not any(it.get("alive") for it in found):
        yield "no worker runs, so nothing is done: start `celery -A orchestrator worker`"
    for it in found:
        who = f"{escape(it.get('host', '?'))}:{escape(it.get('pid', '?'))}"
        if it.get("alive"):
            hand = f"{escape(it.get('working', '?'))} of {escape(it.get('executors', '?'))}"
            yield f"worker {who} is alive, has {hand} calls in hand, version {escape(it.get('version', '?'))}"
        else:
            yield f"worker {who} vanished, last seen {date_time(it.get('seen_at'))}"


def _health(database: JsonObject, broker: JsonObject) -> Iterator[str]:
    used, most = database.get("connections"), database.get("most_connections")
    taken = f", {escape(used)} of {escape(most)} connections" if most else ""
    yield f"database {escape(database.get('product', '?'))} at {escape(database.get('place', '?'))}{taken}"
    what = escape(broker.get("product") or broker.get("kind", "?"))
    where = f" at {escape(broker['place'])}" if broker.get("place") else ""
    queues = "".join(
        f", {escape(it or 0)} hints in {escape(name)}" for name, it in as_object(broker.get("queues")).items()
    )
    yield f"broker {what}{where}{queues}"
    if broker.get("problem"):
        yield f"  {escape(broker['problem'])} -> {escape(broker.get('way_out', ''))}"
