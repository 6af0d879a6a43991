"""What SDKs tell of users' code and of themselves is taken and not kept."""

from __future__ import annotations

import gzip

import pytest
from flask.testing import FlaskClient

from orchestrator.api.telemetry import MAX_BODY

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
