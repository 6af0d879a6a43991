"""`orchestrator run`: one run, with its steps on a line of time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.remote import JsonObject, Server, server_option
from orchestrator.cli.shown import (
    COLOURS,
    as_object,
    as_objects,
    colours,
    date_time,
    print_json,
    print_lines,
    span,
    status_of,
    value,
)
from orchestrator.cli.terminal import escape, paint, parse_time

VALUE_WIDTH = 500
#: Seconds between two looks of --watch.
EVERY = 1.0
#: Characters of the line of time.
_BAR = 24
_OVER = ("completed", "failed", "cancelled", "skipped")


@click.command(
    epilog="""\b
Examples:
  orchestrator run 01J8Z3M7Q4T5V6W7X8Y9ZABCDE
  orchestrator run 01J8Z3M7Q4T5V6W7X8Y9ZABCDE --watch          until it has ended
  orchestrator run 01J8Z3M7Q4T5V6W7X8Y9ZABCDE --json | jq .output
""",
)
@click.argument("run_id", metavar="ID")
@click.option("--watch", is_flag=True, help="Look again until the run has ended; its end is the exit code.")
@server_option
def run(run_id: str, watch: bool, server: Server, as_json: bool) -> None:
    """Show the run ID: its status, its steps on a line of time, and what came out."""
    found = watched(server, run_id, again=watch, quietly=as_json)
    if as_json:
        print_json(found)
    if watch and status_of(found) != "completed":
        raise SystemExit(Exit.RUN_FAILED)


def watched(server: Server, run_id: str, *, again: bool, quietly: bool) -> JsonObject:
    """Show a run, `again` and again until it has ended unless that is to be done `quietly`; the run as seen last."""
    while True:
        found = as_object(server.request("GET", f"/v1/runs/{quote(run_id, safe='')}").get("data"))
        if not quietly:
            if again:
                click.clear()
            print_lines(run_lines(found, colours()))
        if not again or status_of(found) in _OVER:
            return found
        time.sleep(EVERY)


def run_lines(run: JsonObject, colour: bool) -> Iterator[str]:
    """A run for a person."""
    status = status_of(run)
    yield f"run       {escape(run.get('run_id', '?'))}"
    yield f"function  {escape(run.get('function') or run.get('function_id', '?'))}"
    yield f"status    {paint(status, COLOURS.get(status, ''), colour)}"
    if run.get("original_run_id"):
        yield f"rerun of  {escape(run['original_run_id'])}"
    if run.get("reruns"):
        yield f"reruns    {', '.join(map(escape, run['reruns'][:5]))}"
    if run.get("run_started_at"):
        yield f"started   {date_time(run['run_started_at'])}"
    if run.get("ended_at"):
        took = span(run.get("run_started_at"), run["ended_at"])
        yield f"ended     {date_time(run['ended_at'])}{f'   {took}' if took else ''}"
    if run.get("waiting"):
        yield f"waits     {escape(run['waiting'])}"
    steps = as_objects(run.get("steps"))
    if steps:
        yield "steps"
        yield from _step_lines(run, steps, colour)
    if run.get("output") is not None:
        yield f"{'error' if status == 'failed' else 'output':<8}  {value(run['output'], VALUE_WIDTH)}"


def _step_lines(run: JsonObject, steps: list[JsonObject], colour: bool) -> Iterator[str]:
    names = [escape(step.get("name") or step.get("id") or "?") for step in steps]
    width = max(map(len, names))
    line = _Line(run, steps)
    for step, name in zip(steps, names, strict=True):
        status = status_of(step)
        shown = paint(f"{status:<9}", COLOURS.get(status, ""), colour)
        bar = paint(line.bar(step), COLOURS.get(status, ""), colour)
        took = span(step.get("started_at"), step.get("ended_at"))
        attempts = step.get("attempts")
        tries = f"{attempts} attempts" if isinstance(attempts, int) and attempts > 1 else ""
        error = value(step["error"], 160) if step.get("error") else ""
        parts = [f"  {shown}  {name:<{width}}  {bar}", *(it for it in (took, tries, error) if it)]
        yield "   ".join(parts).rstrip()


class _Line:
    """The time from a run's beginning to its end, or to now, as so many characters."""

    def __init__(self, run: JsonObject, steps: list[JsonObject]) -> None:
        seen = [parse_time(it.get(key)) for it in steps for key in ("started_at", "ended_at")]
        began, ended = parse_time(run.get("run_started_at")), parse_time(run.get("ended_at"))
        known = [it for it in (*seen, began, ended) if it is not None]
        # What a rerun took over is older than the run itself.
        self._begin = min(known, default=None)
        self._end = ended or max([*known, datetime.now(UTC)])

    def bar(self, step: JsonObject) -> str:
        """Where in it the step is."""
        started, ended = parse_time(step.get("started_at")), parse_time(step.get("ended_at"))
        began = started or ended
        if self._begin is None or began is None or self._end <= self._begin:
            return f"|{' ' * _BAR}|"
        whole = self._end - self._begin
        first = min(_BAR - 1, max(0, int((began - self._begin) / whole * _BAR)))
        last = min(_BAR, max(first + 1, round(((ended or self._end) - self._begin) / whole * _BAR)))
        return f"|{' ' * first}{'=' * (last - first)}{' ' * (_BAR - last)}|"
