"""`orchestrator limit`: how many calls a function makes at once, set by an operator without a deploy."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.remote import Server, server_option
from orchestrator.cli.terminal import escape

_SETTING = re.compile(r"concurrency=([1-9][0-9]{0,8}|declared)")


@click.command(
    epilog="""\b
Examples:
  orchestrator limit shop-import concurrency=5
  orchestrator limit shop-import concurrency=5 --key event.data.userId
  orchestrator limit shop-import concurrency=declared
""",
)
@click.argument("slug", metavar="FUNCTION")
@click.argument("setting", metavar="concurrency=N")
@click.option("--key", metavar="EXPR", help='The key of the limit that is meant, if there are several ("": without).')
@server_option
def limit(slug: str, setting: str, key: str | None, server: Server, as_json: bool) -> None:
    """Let FUNCTION make N calls at once, in place of what its app declares (N: declared ends that).

    It counts at once, also for calls that wait, and stays through deploys of the app.
    """
    found = _SETTING.fullmatch(setting)
    if found is None:
        raise Problem(f"the setting must be concurrency=N or concurrency=declared, not {setting!r}", Exit.USAGE)
    wanted = None if found[1] == "declared" else int(found[1])
    body: dict[str, object] = {"concurrency": wanted}
    if key is not None:
        body["concurrency_key"] = key
    answer = server.request("PATCH", f"/v1/functions/{quote(slug, safe='')}", body).get("data")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    click.echo(f"{escape(slug)}: concurrency is {'as declared' if wanted is None else wanted}")
