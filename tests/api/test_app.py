"""What holds for every route: headers, errors, credentials."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from flask import Request
from flask.testing import FlaskClient

from orchestrator.api.app import create_app
from orchestrator.errors import UnauthorizedError

if TYPE_CHECKING:
    from tests.api.conftest import World

ID = "01J00000000000000000000000"


def refuse(request: Request) -> None:
    if request.headers.get("Authorization") != "Bearer right":
        raise UnauthorizedError


def test_health_is_told(client: FlaskClient) -> None:
    assert {"status": 200, "message": "OK"} == client.get("/health").get_json()


def test_the_sdks_test_helpers_see_that_the_server_is_up(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])

    start, info = client.post("/v0/connect/start"), client.get("/dev")

    assert (200, b"") == (start.status_code, start.data)
    said = info.get_json()
    assert (200, False, ["shop-bill"]) == (info.status_code, said["authed"], [it["id"] for it in said["functions"]])
    assert {"version", "startOpts", "handlers", "isSingleNodeService", "features"} <= set(said)


def test_a_production_server_is_no_development_server(world: World) -> None:
    client = create_app(world.parts, server_kind="cloud").test_client()

    answer = client.get("/dev")

    assert (404, "cloud") == (answer.status_code, answer.headers["X-Inngest-Server-Kind"])


@pytest.mark.parametrize("path", ["/health", "/v1/events?limit=0", "/nowhere", f"/v1/runs/{ID}"])
def test_every_answer_names_the_kind_of_server_and_lets_pages_read_it(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers

    assert ["dev"] == headers.getlist("X-Inngest-Server-Kind")
    assert ["*"] == headers.getlist("Access-Control-Allow-Origin")


def test_browsers_may_ask_first(world: World) -> None:
    client = create_app(world.parts, authorize=refuse).test_client()

    answer = client.options("/v1/events", headers={"Access-Control-Request-Method": "GET"})

    assert 200 == answer.status_code
    assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    "path", ["/nowhere", "/v1/nowhere", "/v1/run", "/v1/runs/", "/%00", "/é", "/v1/" + "x" * 9_000]
)
def test_an_unknown_path_is_not_found_in_our_shape(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert 404 == answer.status_code
    assert {"code": "not_found", "data": None, "status": 404} == {
        key: value for key, value in answer.get_json().items() if key != "error"
    }


@pytest.mark.parametrize(
    ("path", "allowed"), [("/v1/events", "GET"), ("/fn/register", "POST"), (f"/v1/runs/{ID}", "DELETE")]
)
def test_a_wrong_method_is_told_the_right_ones(client: FlaskClient, path: str, allowed: str) -> None:
    answer = client.patch(path)

    assert (405, "method_not_allowed") == (answer.status_code, answer.get_json()["code"])
    assert allowed in answer.headers["Allow"].split(", ")


def test_head_has_no_body(client: FlaskClient) -> None:
    assert b"" == client.head("/v1/events").data


class BrokenDatabase:
    def read(self) -> Any:
        raise RuntimeError("the password is hunter2")


@pytest.mark.parametrize("path", ["/v1/signals", "/v1/cancellations", "/fn/register"])
def test_a_request_beyond_the_limit_is_refused_and_names_it(world: World, path: str) -> None:
    client = create_app(world.parts, max_request_bytes=1_000).test_client()

    answer = client.post(path, json={"signal": "x" * 1_000})

    assert (413, "too_large") == (answer.status_code, answer.get_json()["code"])
    assert "1000 bytes" in answer.get_json()["error"]


def test_a_bug_is_logged_and_not_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    parts = replace(world.parts, database=BrokenDatabase())
    client = create_app(parts).test_client()

    answer = client.get("/v1/events")

    assert (500, "internal") == (answer.status_code, answer.get_json()["code"])
    assert "hunter2" not in answer.get_data(as_text=True)
    assert "*" == answer.headers["Access-Control-Allow-Origin"]
    assert "request failed" in caplog.text
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize("path", ["/health", "/ready", "/openapi.json"])
def test_open_routes_need_no_credential(world: World, path: str) -> None:
    client = create_app(world.parts, authorize=refuse).test_client()

    assert 200 == client.get(path).status_code
