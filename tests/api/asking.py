"""Asking GraphQL through Flask's test client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask.testing import FlaskClient

from orchestrator.engine.register import register
from orchestrator.protocol.sync import parse_registration

if TYPE_CHECKING:
    from tests.api.conftest import World

Shape = dict[str, Any]

STEP = {
    "step": {
        "id": "step",
        "name": "step",
        "runtime": {"type": "http", "url": "http://localhost:5000/api?fnId=shop-bill"},
    }
}


def answered(client: FlaskClient, query: str, **variables: object) -> Shape:
    """The whole answer to a query that was taken."""
    answer = client.post("/v0/gql", json={"query": query, "variables": variables})
    assert 200 == answer.status_code, answer.get_data(as_text=True)
    told: Shape = answer.get_json()
    return told


def data(client: FlaskClient, query: str, **variables: object) -> Shape:
    """What a query gives that has no errors."""
    told = answered(client, query, **variables)
    assert "errors" not in told, told["errors"]
    found: Shape = told["data"]
    return found


def refused(client: FlaskClient, query: str, **variables: object) -> str:
    """Why a query was refused: the sentence of its one error."""
    [error] = answered(client, query, **variables)["errors"]
    sentence: str = error["message"]
    return sentence


def nodes(connection: dict[str, Any]) -> list[str]:
    """The ids of what is on a page."""
    return [edge["node"]["id"] for edge in connection["edges"]]


def declare(world: World, *functions: dict[str, Any]) -> None:
    """Let the app "shop" declare its functions."""
    body = {
        "url": "http://localhost:5000/api",
        "appName": "shop",
        "sdk": "inngest-py:0.5.19",
        "framework": "flask",
        "functions": list(functions),
    }
    register(world.parts, parse_registration(json.dumps(body).encode(), {}))


def all_pages(page: Callable[[str | None], Shape]) -> list[str]:
    """The ids of what is on all pages: a search may have to go on, and give a page with less on it."""
    after, found = None, list[str]()
    while True:
        got = page(after)
        found += nodes(got)
        after = got["pageInfo"]["endCursor"]
        if not got["pageInfo"]["hasNextPage"]:
            return found
