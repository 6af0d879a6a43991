"""`orchestrator limit`: calls at once, and starts within a period, set by an operator without a deploy."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.remote import Server, server_option
from orchestrator.cli.terminal import escape

_NUMBER = "[1-9][0-9]{0,8}"
_CALLS = re.compile(rf"concurrency=(?:({_NUMBER})|declared)")
_STARTS = re.compile(rf"(throttle|rate-limit)=(?:({_NUMBER})/([^/]+)|declared)")


@click.command(
    epilog="""\b
Examples:
  orchestrator limit shop-import concurrency=5
  orchestrator limit shop-import concurrency=5 --key event.data.userId
  orchestrator limit shop-import concurrency=declared
  orchestrator limit shop-import throttle=10/1m
  orchestrator limit shop-import rate-limit=100/1h
  orchestrator limit shop-import throttle=declared
""",
)
@click.argument("slug", metavar="FUNCTION")
@click.argument("setting", metavar="SETTING")
@click.option("--key", metavar="EXPR", help='The key of the limit that is meant, if there are several ("": without).')
@server_option
def limit(slug: str, setting: str, key: str | None, server: Server, as_json: bool) -> None:
    """Set a limit of FUNCTION in place of what its app declares.

    SETTING is concurrency=N (calls at once), throttle=N/PERIOD or rate-limit=N/PERIOD (starts within a period, such as
    10/1m), or one of the three with the value declared, which ends that. It counts at once, also for what waits, and
    stays through deploys of the app.
    """
    body = _body(setting)
    if key is not None:
        if "concurrency" not in body:
            raise Problem("--key is for concurrency: a function has one throttle and one rate limit", Exit.USAGE)
        body["concurrency_key"] = key
    answer = server.request("PATCH", f"/v1/functions/{quote(slug, safe='')}", body).get("data")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    name, _, value = setting.partition("=")
    click.echo(f"{escape(slug)}: {name} is {'as declared' if value == 'declared' else escape(value)}")


def _body(setting: str) -> dict[str, object]:
    if found := _CALLS.fullmatch(setting):
        return {"concurrency": int(found[1]) if found[1] else None}
    if found := _STARTS.fullmatch(setting):
        starts = {"limit": int(found[2]), "period": found[3]} if found[2] else None
        return {found[1].replace("-", "_"): starts}
    raise Problem(
        "the setting must be concurrency=N, throttle=N/PERIOD or rate-limit=N/PERIOD (such as 10/1m), or one of them "
        f"with =declared, not {setting!r}",
        Exit.USAGE,
    )
