"""`orchestrator doctor`: is everything as production needs it, and if not, what is to be done."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.options import read_config
from orchestrator.cli.terminal import escape, paint
from orchestrator.clock import SystemClock

if TYPE_CHECKING:
    from orchestrator.cli import checks

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(
    epilog="""\b
Examples:
  orchestrator doctor                                    in the environment of web and workers
  orchestrator doctor --app https://shop.example/api/inngest
  orchestrator doctor --worker                           a probe: does a worker live on this host?
  orchestrator doctor --mode dev --app http://localhost:5000/api/inngest
""",
)
@click.option("--app", "apps", multiple=True, metavar="URL", help="An app to look at; may be repeated.")
@click.option("--worker", is_flag=True, help="Only look whether a worker on this host lives.")
@click.option("--mode", metavar="MODE", help="As `dev` or as `start` would see it.  [default: start]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(apps: tuple[str, ...], worker: bool, mode: str | None, as_json: bool) -> None:
    """Check keys, database, broker, workers and apps, and say what to do.

    Ends with exit code 8 when something fails; warnings do not change it. Nothing is changed.
    """
    config = read_config({"sdk_urls": apps}, mode)
    from orchestrator.cli import checks  # brings the database and the HTTP client

    clock = SystemClock()
    if worker:
        findings = checks.guarded("worker", "is DATABASE_URL right?", lambda: checks.of_worker_here(config, clock))
    else:
        findings = checks.all_of(config, config.sdk_urls, clock)
    if not _print(findings, as_json):
        raise SystemExit(Exit.UNWELL)


def _print(findings: Iterable[checks.Finding], as_json: bool) -> bool:
    """Print each finding as it comes (JSON: all at the end); returns whether none fails."""
    told = []
    for finding in findings:
        verdict = finding.verdict.value
        told.append({"check": finding.check, "verdict": verdict, "said": finding.said, "way_out": finding.way_out})
        if not as_json:
            coloured = paint(f"{verdict:<5}", _COLOURS[verdict], sys.stdout.isatty())
            tail = f" -> {escape(finding.way_out)}" if finding.way_out else ""
            click.echo(f"{coloured} {escape(finding.check)}: {escape(finding.said)}{tail}")
    well = all(it["verdict"] != "fail" for it in told)
    if as_json:
        click.echo(json.dumps({"ok": well, "checks": told}, indent=2))
    return well
