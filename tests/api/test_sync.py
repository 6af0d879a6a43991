"""Apps make themselves known, are listed, and are forgotten."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient

from orchestrator.api.app import create_app

if TYPE_CHECKING:
    from tests.api.conftest import World

URL = "http://localhost:5000/api/inngest"


def function(slug: str = "shop-bill", **more: object) -> dict[str, object]:
    runtime = {"type": "http", "url": f"{URL}?fnId={slug}&stepId=step"}
    step = {"id": "step", "name": "step", "runtime": runtime, "retries": {"attempts": 2}}
    return {"id": slug, "name": "Bill", "triggers": [{"event": "shop/sold"}], "steps": {"step": step}} | more


def registration(*functions: dict[str, object], **more: object) -> dict[str, object]:
    declared = list(functions or [function()])
    return {"url": URL, "appName": "shop", "sdk": "js:v4.24.0", "framework": "express", "functions": declared} | more


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_app_registers_its_functions(client: FlaskClient, method: str) -> None:
    answer = client.open("/fn/register?deployId=1", method=method, json=registration())

    said = answer.get_json()
    assert 200 == answer.status_code
    assert (True, True, 200) == (said["ok"], said["modified"], said["status"])
    assert {"sync_id", "app_id"} <= set(said)
    listed = client.get("/v1/apps/shop/functions").get_json()
    assert [("shop-bill", said["app_id"], 1, function())] == [
        (it["id"], it["app_id"], it["version"], it["config"]) for it in listed
    ]


def test_the_same_registration_again_modifies_nothing(client: FlaskClient) -> None:
    client.post("/fn/register", json=registration())

    again = client.post("/fn/register", json=registration())

    assert again.get_json()["modified"] is False


def test_functions_that_are_missing_are_archived(client: FlaskClient) -> None:
    client.post("/fn/register", json=registration(function("shop-a"), function("shop-b")))

    client.post("/fn/register", json=registration(function("shop-b")))

    assert ["shop-b"] == [it["id"] for it in client.get("/v1/apps/shop/functions").get_json()]


def test_python_spells_the_app_name_in_lower_case(client: FlaskClient) -> None:
    body = registration(sdk="py:v0.5.19", appname="shop")
    del body["appName"]

    client.post("/fn/register", json=body, headers={"X-Inngest-SDK": "inngest-py:v0.5.19"})

    app = client.get("/v1/apps").get_json()["data"][0]
    assert ("shop", "py", "0.5.19", "express", URL, 1) == (
        app["name"],
        app["sdk_language"],
        app["sdk_version"],
        app["framework"],
        app["url"],
        app["function_count"],
    )


def test_a_compressed_registration_is_read(client: FlaskClient) -> None:
    body = gzip.compress(json.dumps(registration()).encode())

    answer = client.post("/fn/register", data=body, headers={"Content-Encoding": "gzip"})

    assert 200 == answer.status_code


def test_without_a_key_the_authorization_header_means_nothing(client: FlaskClient) -> None:
    headers = {"Authorization": "Bearer undefined"}

    answer = client.post("/fn/register", json=registration(), headers=headers)

    assert 200 == answer.status_code


def test_an_app_for_another_kind_of_server_is_refused(client: FlaskClient) -> None:
    headers = {"X-Inngest-Expected-Server-Kind": "cloud"}

    answer = client.post("/fn/register", json=registration(), headers=headers)

    assert (400, 400) == (answer.status_code, answer.get_json()["status"])
    assert "cloud" in answer.get_json()["error"]
    assert [] == client.get("/v1/apps").get_json()["data"]


def test_an_app_is_removed_by_its_url(client: FlaskClient) -> None:
    client.post("/fn/register", json=registration())

    answers = [client.delete("/fn/remove", query_string={"url": URL}) for _ in range(2)]

    assert [200, 404] == [answer.status_code for answer in answers]
    assert [] == client.get("/v1/apps").get_json()["data"]


def test_a_removed_app_can_come_back(client: FlaskClient) -> None:
    client.post("/fn/register", json=registration())
    client.delete("/fn/remove", query_string={"url": URL})

    answer = client.post("/fn/register", json=registration())

    assert answer.get_json()["modified"] is True
    assert ["shop-bill"] == [it["id"] for it in client.get("/v1/apps/shop/functions").get_json()]


BAD_BODIES: list[tuple[Any, str]] = [
    (b"", "cannot be read"),
    (b"{", "cannot be read"),
    (b"\xff", "cannot be read"),
    (b"[" * 100_000, "the registration"),
    (b"[]", "must be a JSON object"),
    ({"url": URL, "functions": []}, "appName"),
    (registration(appName=7), "appName must be a text"),
    (registration(appName="s" * 10_000), "appName must be a text of 1 to"),
    (registration(url=None), "url"),
    (registration(url="ftp://x"), "url must be"),
    (registration(functions={"a": 1}), "functions must be a list"),
    (registration(function(), function()), '"shop-bill" is there twice'),
    (registration(function(triggers=[{"event": "e" * 300}])), "triggers[0]"),
    (registration(function(triggers=[{"cron": "every day"}])), "triggers[0]"),
    (registration(function(steps={})), "steps"),
]


@pytest.mark.parametrize(("body", "sentence"), BAD_BODIES, ids=[str(at) for at in range(len(BAD_BODIES))])
def test_a_bad_registration_is_refused_with_a_sentence(client: FlaskClient, body: Any, sentence: str) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    answer = client.post("/fn/register", data=raw)

    assert (400, 400) == (answer.status_code, answer.get_json()["status"])
    assert sentence in answer.get_json()["error"]
    assert [] == client.get("/v1/apps").get_json()["data"]


def test_a_registration_beyond_the_limit_is_refused(world: World) -> None:
    client = create_app(world.parts, max_request_bytes=100).test_client()

    answer = client.post("/fn/register", json=registration())

    assert (413, "too_large") == (answer.status_code, answer.get_json()["code"])
    assert "100 bytes" in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/fn/remove", 400, "url is missing: it must be the URL of an app"),
        ("/fn/remove?url=", 400, "url"),
        ("/fn/remove?url=nonsense", 400, "url must be a URL that starts with"),
        ("/fn/remove?url=http://nobody", 404, "there is no app at http://nobody"),
    ],
)
def test_a_bad_removal_is_refused_with_a_sentence(client: FlaskClient, path: str, status: int, sentence: str) -> None:
    answer = client.delete(path)

    assert status == answer.status_code
    assert sentence in answer.get_json()["error"]


@pytest.mark.parametrize("name", ["nobody", "a%2Fb", "%00", "n" * 5_000])
def test_functions_of_an_unknown_app_are_not_found(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/v1/apps/{name}/functions")

    assert 404 == answer.status_code
    assert "there is no app" in answer.get_json()["error"]
