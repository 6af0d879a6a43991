"""The API as a page: every operation is on it, nothing comes from elsewhere, and nothing of it is obeyed."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient
from jinja2 import Environment

from orchestrator.api.app import create_app
from orchestrator.api.reference.outline import groups_of, outline

if TYPE_CHECKING:
    from tests.api.conftest import World


def test_every_operation_of_the_document_is_on_the_page(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()

    page = client.get("/docs").get_data(as_text=True)

    operations = {(group.name, it.method, it.path) for group in groups_of(document) for it in group.operations}
    listed = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    assert listed == {(method, path) for _, method, path in operations}
    assert all(f"<code>{html.escape(path)}</code>" in page for _, path in listed)
    assert listed


def test_every_link_of_the_page_leads_somewhere(client: FlaskClient) -> None:
    page = client.get("/docs").get_data(as_text=True)

    anchors = re.findall(r'href="#([^"]+)"', page)
    ids = re.findall(r'id="([^"]+)"', page)

    assert set(anchors) <= set(ids)
    assert len(ids) == len(set(ids))
    assert {"openapi.json", "docs/style.css"} == set(re.findall(r'href="([^#"][^"]*)"', page))


@pytest.mark.parametrize("path", ["/docs", "/docs/style.css"])
def test_nothing_comes_from_elsewhere_and_nothing_is_written_in_line(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    policy = answer.headers["Content-Security-Policy"]
    text = answer.get_data(as_text=True)
    assert ("default-src 'none'", False) == (policy.split(";")[0], "unsafe" in policy)
    assert [] == re.findall(r"<script|style=|\son\w+=|//[a-z]|url\(|@import", text)


def test_the_page_tells_of_credentials_where_they_are_asked_for(world: World, client: FlaskClient) -> None:
    guarded = create_app(world.parts, authorize=lambda _request: None).test_client()

    pages = [it.get("/docs").get_data(as_text=True) for it in (client, guarded)]

    assert [False, True] == ["Authorization: Bearer" in page for page in pages]
    assert all("a token with the scope read" in page for page in pages)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "string"}, "string"),
        ({"enum": ["a", "b"]}, '"a" | "b"'),
        ({"type": ["object", "null"]}, "object | null"),
        ({"type": "array", "items": {"type": "integer"}}, "[integer\n, ...]"),
        (
            {"properties": {"a": {"type": "string", "description": "why"}, "b": {"$ref": "#/x/B"}}, "required": ["b"]},
            '{\n  "a": string    # perhaps; why\n  "b": {\n    "c": anything    # perhaps\n  }\n}',
        ),
    ],
)
def test_a_schema_is_outlined_as_the_json_it_means(schema: dict[str, Any], told: str) -> None:
    assert told == outline({"x": {"B": {"properties": {"c": {}}}}}, schema)


def test_a_schema_that_is_part_of_itself_ends() -> None:
    document = {"x": {"Tree": {"properties": {"below": {"type": "array", "items": {"$ref": "#/x/Tree"}}}}}}

    assert outline(document, {"$ref": "#/x/Tree"}).count('"below"') < 10


def test_words_of_the_document_are_text_on_the_page() -> None:
    from importlib import resources

    evil = "<script>alert(1)</script>"
    operation = {"summary": evil, "tags": [evil], "responses": {"200": {"description": evil}}, "x-credential": evil}
    document = {"paths": {f"/{evil}": {"get": operation}}, "tags": [{"name": evil, "description": evil}]}
    text = resources.files("orchestrator.api.reference").joinpath("page.html").read_text()

    page = Environment(autoescape=True).from_string(text).render(title=evil, version=evil, groups=groups_of(document))

    assert "<script" not in page
