"""`orchestrator invoke`: a run of exactly one function, whatever its triggers."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.remote import Server, server_option
from orchestrator.cli.run import watched
from orchestrator.cli.send import json_object
from orchestrator.cli.shown import as_object, print_json, status_of
from orchestrator.cli.terminal import escape

#: Seconds between two looks for a run that was promised, and in which it comes to be where workers keep up.
EVERY, PATIENCE = 0.2, 60.0


@click.command(
    epilog="""\b
Examples:
  orchestrator invoke shop-import '{"productId": 7}'
  orchestrator invoke shop-import '{"productId": 7}' --wait     and show how it ends
  orchestrator invoke shop-report - < data.json
  orchestrator invoke shop-charge '{}' --key order-7            asked twice, it runs once
""",
)
@click.argument("slug", metavar="FUNCTION")
@click.argument("data", default="{}")
@click.option("--key", metavar="KEY", help="The same key within a day is the same run.")
@click.option("--wait", is_flag=True, help="Show the run until it has ended; its end is the exit code.")
@server_option
def invoke(slug: str, data: str, key: str | None, wait: bool, server: Server, as_json: bool) -> None:
    """Start FUNCTION with DATA, a JSON object."""
    body: dict[str, object] = {"data": json_object(data)} | ({"idempotencyKey": key} if key else {})
    answer = as_object(server.request("POST", f"/invoke/{quote(slug, safe='')}", body).get("data"))
    run_id = str(answer.get("run_id", "?"))
    if not wait:
        click.echo(json.dumps(answer) if as_json else f"started {escape(run_id)}; orchestrator run {escape(run_id)}")
        return
    _await(server, run_id)
    found = watched(server, run_id, again=True, quietly=as_json)
    if as_json:
        print_json(found)
    if status_of(found) != "completed":
        raise SystemExit(Exit.RUN_FAILED)


def _await(server: Server, run_id: str) -> None:
    """Wait until a run is there: its id is told before a worker has taken up the event that starts it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            server.request("GET", f"/v1/runs/{quote(run_id, safe='')}")
            return
        except Problem as problem:
            if problem.exit_code != Exit.NOT_FOUND:
                raise
        if time.monotonic() >= deadline:
            raise Problem(
                f"the run {escape(run_id)} has not begun within {PATIENCE:g} seconds: orchestrator queue says why, "
                f"and orchestrator run {escape(run_id)} --watch waits on once it is there",
                Exit.NOT_FOUND,
            )
        time.sleep(EVERY)
