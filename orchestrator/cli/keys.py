"""`orchestrator keys`: fresh keys for a production server and its apps."""

from __future__ import annotations

import json
import secrets

import click

_BYTES = 32


@click.group(
    epilog="""\b
Examples:
  orchestrator keys new                    for a person to look at
  orchestrator keys new > .env             for a file that server and apps read
  orchestrator keys new --json             for a program
""",
)
def keys() -> None:
    """Make the keys that production needs."""


@keys.command(
    epilog="""\b
Examples:
  orchestrator keys new
  set -a && eval "$(orchestrator keys new)" && orchestrator start
""",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, keyed by variable.")
def new(as_json: bool) -> None:
    """Print a fresh pair of keys as lines for an environment file; they are kept nowhere else.

    The signing key proves server and apps to each other, the event key proves whoever sends events.
    """
    signing_key, event_key = f"signkey-prod-{secrets.token_hex(_BYTES)}", secrets.token_hex(_BYTES)
    server = {"ORCHESTRATOR_SIGNING_KEY": signing_key, "ORCHESTRATOR_EVENT_KEYS": event_key}
    apps = {"INNGEST_SIGNING_KEY": signing_key, "INNGEST_EVENT_KEY": event_key}
    if as_json:
        click.echo(json.dumps(server | apps, indent=2))
        return
    click.echo("\n".join(["# the server", *_lines(server), "# the apps, and whoever sends events", *_lines(apps)]))


def _lines(variables: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]
