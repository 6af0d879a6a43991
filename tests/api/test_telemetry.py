"""What SDKs tell of users' code and of themselves is taken and not kept."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from orchestrator.api.telemetry import MAX_BODY

if TYPE_CHECKING:
    from tests.api.conftest import World

PATHS = ["/v1/traces/userland", "/v0/telemetry"]


def test_spans_in_json_are_answered_in_json(client: FlaskClient) -> None:
    answer = client.post("/v1/traces/userland", json={"resourceSpans": []})

    assert (200, "application/json", {}) == (answer.status_code, answer.mimetype, answer.get_json())


def test_spans_in_protobuf_are_answered_in_protobuf(client: FlaskClient) -> None:
    answer = client.post("/v1/traces/userland", data=b"\x0a\x00", content_type="application/x-protobuf")

    assert (200, "application/x-protobuf", b"") == (answer.status_code, answer.mimetype, answer.data)


def test_telemetry_is_taken(client: FlaskClient) -> None:
    assert (200, b"") == (lambda answer: (answer.status_code, answer.data))(client.post("/v0/telemetry", json=[]))


@pytest.mark.parametrize("path", PATHS)
def test_compressed_bodies_are_taken(client: FlaskClient, path: str) -> None:
    answer = client.post(path, data=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})

    assert 200 == answer.status_code


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_too_large_is_refused(client: FlaskClient, path: str, packed: bool) -> None:
    body = b" " * (MAX_BODY + 1)
    headers = {"Content-Encoding": "gzip"} if packed else {}

    answer = client.post(path, data=gzip.compress(body) if packed else body, headers=headers)

    assert 413 == answer.status_code
    assert 413 == answer.get_json()["status"]


SCORE = {"kind": "inngest.score", "scope": "step", "op": "merge", "values": {"taste": {"value": 0.9}}}


def test_notes_on_a_run_are_taken_as_the_typescript_sdk_sends_them(client: FlaskClient, world: World) -> None:
    run_id = world.run(world.event())
    target = {"run_id": run_id, "step_id": "cook", "step_index": 0, "step_attempt": 1}

    answer = client.post(
        f"/v1/runs/{run_id}/metadata", json={"target": target, "metadata": [SCORE], "of": "an SDK to come"}
    )

    assert (200, b"") == (answer.status_code, answer.data)


def test_notes_on_a_run_that_is_not_there_are_refused(client: FlaskClient) -> None:
    answer = client.post("/v1/runs/01J00000000000000000000000/metadata", json={"metadata": [SCORE]})

    assert (404, "there is no run 01J00000000000000000000000") == (answer.status_code, answer.get_json()["error"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"metadata": []},
        {"metadata": {}},
        {"metadata": [SCORE | {"op": "melt"}]},
        {"metadata": [SCORE | {"values": 7}]},
        {"metadata": [SCORE | {"kind": None}]},
        {"metadata": [SCORE], "target": "all"},
    ],
)
def test_what_is_no_note_is_refused(client: FlaskClient, world: World, body: object) -> None:
    answer = client.post(f"/v1/runs/{world.run(world.event())}/metadata", json=body)

    assert (400, "invalid_request") == (answer.status_code, answer.get_json()["code"])
