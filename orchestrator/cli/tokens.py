"""`orchestrator tokens`: who may ask a running server for what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlencode

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.remote import JsonObject, Server, server_option
from orchestrator.cli.terminal import escape, shorten
from orchestrator.core.scope import Scope

_WIDTH = 40
_PAGE = 100


@click.group(
    epilog="""\b
Examples:
  orchestrator tokens new ci --scope read --scope write
  orchestrator tokens new website --scope events
  orchestrator tokens list
  orchestrator tokens revoke website
""",
)
def tokens() -> None:
    """Make, list and revoke tokens; one with the scope `events` is an event key, too."""


@tokens.command(
    epilog="""\b
Examples:
  orchestrator tokens new grafana --scope read
  export ORCHESTRATOR_API_TOKEN="$(orchestrator tokens new ci --scope read --scope write)"
""",
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    required=True,
    help="What it may do; may be repeated.",
)
@server_option
def new(name: str, scopes: Sequence[str], server: Server, as_json: bool) -> None:
    """Make a token and print it; it is kept nowhere and cannot be shown again.

    It may do what its scopes say and nothing else: read (look at everything), write (steer runs and functions), events
    (send them), apps (register and sync them), admin (make and revoke tokens).
    """
    made = _data(server.request("POST", "/v1/tokens", {"name": name, "scopes": list(scopes)}))
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    click.echo(escape(made.get("token")))
    click.echo(f"made {escape(made.get('id'))}; it is not shown again", err=True)


@tokens.command(
    "list",
    epilog="""\b
Examples:
  orchestrator tokens list
  orchestrator tokens list --json | jq -r '.[] | select(.last_used_at == null).name'
""",
)
@click.option("--all", "revoked_too", is_flag=True, help="Show revoked tokens, too.")
@server_option
def list_(revoked_too: bool, server: Server, as_json: bool) -> None:
    """List the tokens, the newest first."""
    rows = [it for it in _all(server) if revoked_too or not it.get("revoked_at")]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for it in rows:
        state = f"revoked {it['revoked_at']}" if it.get("revoked_at") else f"used {it.get('last_used_at') or 'never'}"
        scopes = ",".join(map(str, it.get("scopes") or []))
        name = shorten(escape(it.get("name")), _WIDTH)
        click.echo(f"{escape(it.get('id'))}  {escape(it.get('hint'))}…  {name:<16}  {escape(scopes)}  {escape(state)}")
    if not rows:
        click.echo("there are no tokens", err=True)


@tokens.command(
    epilog="""\b
Examples:
  orchestrator tokens revoke website
  orchestrator tokens revoke 01J8Z3V6Q4M1T9D2B7KXW5N0PE
""",
)
@click.argument("token", metavar="NAME_OR_ID")
@server_option
def revoke(token: str, server: Server, as_json: bool) -> None:
    """Revoke a token: within a second no process of the server takes it any more."""
    token_id = _meant(server, token)
    answer = _data(server.request("DELETE", f"/v1/tokens/{token_id}"))
    click.echo(json.dumps(answer, indent=2) if as_json else f"revoked {escape(answer.get('name'))} ({token_id})")


def _meant(server: Server, token: str) -> str:
    """The id of the one token with this id or, of those that count, this name."""
    found = [it for it in _all(server) if it.get("id") == token.upper()]
    found = found or [it for it in _all(server) if it.get("name") == token and not it.get("revoked_at")]
    if not found:
        raise Problem(f"there is no token {escape(token)}", Exit.NOT_FOUND)
    if len(found) > 1:
        ids = ", ".join(escape(it.get("id")) for it in found)
        raise Problem(f"several tokens are called {escape(token)}: say which by its id ({ids})", Exit.USAGE)
    return str(found[0]["id"])


def _all(server: Server) -> list[JsonObject]:
    rows = list[JsonObject]()
    while True:
        query = {"limit": _PAGE} | ({"cursor": rows[-1]["id"]} if rows else {})
        found = server.request("GET", f"/v1/tokens?{urlencode(query)}").get("data")
        page = [it for it in found if isinstance(it, dict)] if isinstance(found, list) else []
        rows += page
        if len(page) < _PAGE:
            return rows


def _data(answer: JsonObject) -> JsonObject:
    found = answer.get("data")
    return found if isinstance(found, dict) else {}
