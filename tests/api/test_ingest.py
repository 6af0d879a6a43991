"""The event API as a client sees it: statuses, sentences, headers, and what is stored."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from io import BytesIO

import pytest

from orchestrator.api.cors import cors_headers
from orchestrator.api.ingest import IngestApp
from orchestrator.clock import SettableClock
from orchestrator.errors import ConflictError
from orchestrator.protocol.events import seeded_ids
from tests.api.event_server import FORM, NOW, SEED, SMALL, Broken, EventServer, LaterServer, elsewhere


@pytest.mark.parametrize(
    ("environ", "body"),
    [
        ({}, b'{"name":"a","data":{"x":1}}'),
        ({}, b'[{"name":"a"},{"name":"b"}]'),
        ({}, b"[]"),
        ({}, b"nonsense"),
        ({}, b'[{"name":"a"},{"name":""}]'),
        ({}, b'[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"}]'),
        ({}, b'{"name":"' + b"a" * 300 + b'"}'),
        ({}, b" " * 1_500),
        ({"CONTENT_LENGTH": "100"}, b'{"name":"a"}'),
        ({"CONTENT_TYPE": ""}, b'{"name":"a"}'),
        ({"PATH_INFO": "/e/"}, b'{"name":"a"}'),
        ({"PATH_INFO": "/e/unknown"}, b'{"name":"a"}'),
        ({"PATH_INFO": "/e/none"}, b'{"name":"a"}'),
    ],
)
@pytest.mark.parametrize("failure", [None, ZeroDivisionError("secret"), ConflictError("The database is read-only")])
def test_an_answer_is_byte_for_byte_the_same_without_a_thread(
    environ: dict[str, str], body: bytes, failure: Exception | None
) -> None:
    environ = {"HTTP_X_INNGEST_EVENT_ID_SEED": SEED, **environ}
    threaded, later = EventServer(SMALL, failure), LaterServer(SMALL, failure)

    assert threaded.post(body, **{"CONTENT_LENGTH": str(len(body)), **environ}) == later.post_soon(body, **environ)
    assert threaded.stored == later.stored


@pytest.mark.parametrize(
    "environ",
    [
        {"REQUEST_METHOD": "GET"},
        {"REQUEST_METHOD": "OPTIONS"},
        {"PATH_INFO": "/v1/events"},
        {"PATH_INFO": "/e/key/more"},
        {"CONTENT_LENGTH": "100000"},
        {"CONTENT_LENGTH": ""},
        {"HTTP_CONTENT_ENCODING": "gzip"},
        {"CONTENT_TYPE": FORM},
        {"CONTENT_TYPE": " Multipart/Form-Data; boundary=x"},
    ],
)
def test_what_may_take_long_to_read_is_left_to_a_thread(environ: dict[str, str]) -> None:
    server = LaterServer(failure=AssertionError("nothing is stored"))

    assert server.post_soon(b'{"name":"a"}', **environ) is None


# --- good answers


def test_one_event_is_stored_before_its_id_is_told() -> None:
    server = EventServer()

    answer = server.post('{"name":"a","data":{"x":1}}')

    (event,) = server.stored
    assert (200, {"ids": [event.id], "status": 200}) == (answer.status, answer.json)
    assert ("a", '{"x":1}', NOW) == (event.name, event.data, event.received_at)


def test_ids_are_in_the_order_of_the_events() -> None:
    server = EventServer()

    answer = server.post('[{"name":"a"},{"name":"b"},{"name":"c"}]')

    assert [event.id for event in server.stored] == answer.json["ids"]
    assert ["a", "b", "c"] == [event.name for event in server.stored]


def test_the_ids_told_are_those_of_the_store() -> None:
    """A duplicate is answered with the id the event had the first time."""
    app = IngestApp(
        elsewhere,
        lambda events: ["earlier"],
        lambda key: None,
        clock=SettableClock(NOW),
        limits=SMALL,
        server_kind="dev",
    )

    body = b"".join(
        app(
            {
                "REQUEST_METHOD": "POST",
                "PATH_INFO": "/e/k",
                "CONTENT_LENGTH": "12",
                "wsgi.input": BytesIO(b'{"name":"a"}'),
            },
            lambda status, headers, info=None: lambda data: None,
        )
    )

    assert ["earlier"] == json.loads(body)["ids"]


def test_an_empty_array_stores_nothing() -> None:
    server = EventServer(failure=AssertionError("nothing to store"))

    answer = server.post("[]")

    assert (200, {"ids": [], "status": 200}) == (answer.status, answer.json)


def test_a_seed_makes_the_ids() -> None:
    expected = seeded_ids(SEED)
    assert expected is not None

    answer = EventServer().post('[{"name":"a"},{"name":"b"}]', HTTP_X_INNGEST_EVENT_ID_SEED=SEED)

    assert [expected(1), expected(2)] == answer.json["ids"]


def test_a_malformed_seed_is_ignored() -> None:
    answer = EventServer().post('{"name":"a"}', HTTP_X_INNGEST_EVENT_ID_SEED="nonsense")

    assert (200, 26) == (answer.status, len(answer.json["ids"][0]))


def test_good_events_before_a_bad_one_are_stored_and_told() -> None:
    server = EventServer()

    answer = server.post('[{"name":"a"},{"name":""},{"name":"c"}]')

    assert ["a"] == [event.name for event in server.stored]
    assert (400, [server.stored[0].id], 400) == (answer.status, answer.json["ids"], answer.json["status"])
    assert answer.error.startswith("event 1: event name is empty")


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", FORM, "application/json; charset=utf-8", "application/cloudevents"]
)
def test_anything_but_a_form_is_read_as_json(content_type: str) -> None:
    assert 200 == EventServer().post('{"name":"a"}', CONTENT_TYPE=content_type).status


@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress])
def test_a_compressed_body_is_read(encode: Callable[[bytes], bytes]) -> None:
    encoding = "gzip" if encode is gzip.compress else "deflate"

    assert 200 == EventServer().post(encode(b'{"name":"a"}'), HTTP_CONTENT_ENCODING=encoding).status


# --- the key


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/e/", 401, "Event key is required"),
        ("/e/unknown", 401, "Event key not found"),
        ("/e/none", 503, "Event keys are required to process events securely."),
    ],
)
def test_without_a_good_key_nothing_is_read(path: str, status: int, sentence: str) -> None:
    answer = EventServer().ask({"PATH_INFO": path, "CONTENT_LENGTH": "5"}, Broken())

    assert (status, {"ids": [], "status": status, "error": sentence}) == (answer.status, answer.json)


@pytest.mark.parametrize(("path", "key"), [("/e/a b", "a b"), ("/e/\u00c3\u00a9", "é"), ("/e/\u00ff", "\ufffd")])
def test_the_key_is_the_decoded_segment(path: str, key: str) -> None:
    server = EventServer()

    server.post('{"name":"a"}', PATH_INFO=path)

    assert [key] == server.keys


# --- who answers


@pytest.mark.parametrize("path", ["", "/", "/e", "/events", "/E/key", "/e/key/", "/e/key/more", "/api/e/key"])
def test_other_paths_go_on_untouched(path: str) -> None:
    answer = EventServer().post("", PATH_INFO=path)

    assert (b"elsewhere", {"Content-Type": "text/plain"}) == (answer.body, answer.headers)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "BREW"])
def test_other_methods_are_told_what_is_allowed(method: str) -> None:
    answer = EventServer().post("", REQUEST_METHOD=method)

    assert (405, "POST, OPTIONS") == (answer.status, answer.headers["Allow"])
    assert f"Events are sent by POST, not {method}" == answer.error


def test_an_answer_to_head_has_no_body() -> None:
    answer = EventServer().post("", REQUEST_METHOD="HEAD")

    assert (405, b"") == (answer.status, answer.body)


def test_a_browser_may_ask_first_without_a_good_key() -> None:
    answer = EventServer().post("", REQUEST_METHOD="OPTIONS", PATH_INFO="/e/unknown")

    assert (204, b"") == (answer.status, answer.body)
    assert {**dict(cors_headers()), "X-Inngest-Server-Kind": "cloud"} == answer.headers


def test_any_origin_may_do_what_the_protocol_lists() -> None:
    headers = dict(cors_headers())

    assert "*" == headers["Access-Control-Allow-Origin"]
    assert "3600" == headers["Access-Control-Max-Age"]
    assert {"GET", "POST", "PUT", "DELETE", "OPTIONS"} == set(headers["Access-Control-Allow-Methods"].split(", "))
    assert {"*", "Authorization"} == set(headers["Access-Control-Allow-Headers"].split(", "))


@pytest.mark.parametrize("body", ['{"name":"a"}', "", "[1]", "[]"])
def test_every_answer_carries_the_shared_headers(body: str) -> None:
    answer = EventServer().post(body)

    shared = {**dict(cors_headers()), "X-Inngest-Server-Kind": "cloud"}
    expected = {"Content-Type": "application/json", "Content-Length": str(len(answer.body)), **shared}
    assert expected == answer.headers


# --- reading the body
