"""`orchestrator version`: what to write into a bug report."""

from __future__ import annotations

import json
import platform

import click

from orchestrator import __version__


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def version(as_json: bool) -> None:
    """Print the version, and what it runs on."""
    facts = {
        "orchestrator": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    click.echo(json.dumps(facts) if as_json else "\n".join(f"{name:<12}  {fact}" for name, fact in facts.items()))
