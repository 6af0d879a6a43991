"""`orchestrator rerun`: a run once more, from its beginning or from one of its steps."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.remote import Server, server_option
from orchestrator.cli.terminal import escape


@click.command(
    epilog="""\b
Examples:
  orchestrator rerun 01J8Z3M7Q4T5V6W7X8Y9ZABCDE
  orchestrator rerun 01J8Z3M7Q4T5V6W7X8Y9ZABCDE --from-step charge
  orchestrator rerun 01J8Z3M7Q4T5V6W7X8Y9ZABCDE --from-step charge --input '[7, "express"]'
  orchestrator bulk rerun --function shop-import --status failed      many at once
""",
)
@click.argument("run_id", metavar="ID")
@click.option("--from-step", metavar="STEP", help="Begin there (its name or id), with what came before taken over.")
@click.option("--input", "given", metavar="JSON", help="The step's arguments, an array, in place of its own.")
@server_option
def rerun(run_id: str, from_step: str | None, given: str | None, server: Server, as_json: bool) -> None:
    """Run the run ID again, as a new run with the same events."""
    if given is not None and from_step is None:
        raise Problem("--input is for a step: name it with --from-step", Exit.USAGE)
    body: dict[str, object] = {}
    if from_step is not None:
        body["from_step"] = {"step_id": from_step} | ({"input": _arguments(given)} if given is not None else {})
    answer = server.request("POST", f"/v1/runs/{quote(run_id, safe='')}/rerun", body)
    if as_json:
        click.echo(json.dumps(answer))
        return
    new = escape((answer.get("data") or {}).get("run_id", "?"))
    click.echo(f"runs again as {new}; orchestrator run {new} shows it")


def _arguments(text: str) -> list[object]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise Problem(f"--input is not JSON: {error.msg} at column {error.colno}", Exit.USAGE) from None
    if not isinstance(value, list):
        raise Problem("--input must be an array of the step's arguments, such as '[7, \"express\"]'", Exit.USAGE)
    return value
