"""Faults around the event API: stores that fail, requests of all sorts, and a real server."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from io import BytesIO, StringIO
from typing import Any
from wsgiref.validate import validator

import pytest
from cheroot.wsgi import Server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.api.ingest import IngestApp
from orchestrator.errors import ConflictError
from tests.api.event_server import FORM, SMALL, Broken, EventServer

BAD_REQUESTS: list[tuple[dict[str, Any], bytes, int, str]] = [
    ({"CONTENT_LENGTH": "x"}, b"{}", 400, "Content-Length must be a number of bytes"),
    ({"CONTENT_LENGTH": "-1"}, b"{}", 400, "Content-Length must be a number of bytes"),
    ({"CONTENT_LENGTH": "1.5"}, b"{}", 400, "Content-Length must be a number of bytes"),
    ({"CONTENT_LENGTH": "²"}, b"{}", 400, "Content-Length must be a number of bytes"),
    ({"CONTENT_LENGTH": "9" * 5_000}, b"{}", 400, "Content-Length must be a number of bytes"),
    ({"CONTENT_LENGTH": "9" * 18}, b"{}", 413, "Request body has 999999999999999999 bytes, the limit is 1000 bytes"),
    ({"CONTENT_LENGTH": "1001"}, b"", 413, "Request body has 1001 bytes, the limit is 1000 bytes"),
    ({"CONTENT_LENGTH": "10"}, b"{}", 400, "Request body ended after 2 of 10 bytes"),
    ({"CONTENT_LENGTH": "0"}, b"", 400, "Request body is empty"),
    ({"HTTP_CONTENT_ENCODING": "br"}, b"{}", 415, "Content-Encoding must be gzip, deflate or identity"),
    ({"HTTP_CONTENT_ENCODING": "gzip, gzip"}, b"{}", 415, "Content-Encoding must be gzip, deflate or identity"),
    ({"HTTP_CONTENT_ENCODING": "gzip"}, b"{}", 400, "Request body is not valid gzip data"),
    (
        {"HTTP_CONTENT_ENCODING": "gzip"},
        gzip.compress(b"{}", mtime=0)[:-4],
        400,
        "not one complete stream of gzip data",
    ),
    (
        {"HTTP_CONTENT_ENCODING": "gzip"},
        gzip.compress(b"{}", mtime=0) + b"x",
        400,
        "not one complete stream of gzip data",
    ),
    ({"HTTP_CONTENT_ENCODING": "identity"}, b"{}", 400, "event name is empty"),
    ({}, b'{"name":"a","data":{"x":"' + b"y" * 200 + b'"}}', 413, "the event has 228 bytes, the limit is 200 bytes"),
    ({}, b'[{"name":"a"},{"data":"' + b"y" * 200 + b'"}]', 413, "event 1: the event has 211 bytes, the limit is 200"),
    ({}, b'[{"name":"a"},{},{},{}]', 413, "event 3: the request has more events than the limit of 3"),
    ({}, b"5", 400, "Request body must contain an event object or an array of event objects"),
    ({}, b'{"name":"inngest/x"}', 400, "event name is reserved for internal use: inngest/x"),
    ({"CONTENT_TYPE": FORM}, b"x=1", 400, "event name is empty"),
    ({"CONTENT_TYPE": FORM}, b"name=a&ts=soon", 400, '"ts" must be an integer of Unix milliseconds, not a string'),
    ({"CONTENT_TYPE": FORM}, b"name=a&name=b", 400, '"name" must be a string, not an array'),
    ({"CONTENT_TYPE": FORM}, b"name=a&x=" + b"y" * 300, 413, "the limit is 200 bytes"),
    ({"CONTENT_TYPE": FORM}, b"name=%00", 400, '"name" must not contain the NUL character'),
    ({"CONTENT_TYPE": "multipart/form-data"}, b"x", 400, "Request body is not a valid form"),
    ({"CONTENT_TYPE": "multipart/form-data; boundary=b"}, b"nonsense", 400, "Request body is not a valid form"),
]


@pytest.mark.parametrize(("environ", "body", "status", "sentence"), BAD_REQUESTS)
def test_a_bad_request_is_told_in_a_sentence(environ: dict[str, Any], body: bytes, status: int, sentence: str) -> None:
    answer = EventServer(SMALL).post(body, **environ)

    assert (status, status) == (answer.status, answer.json["status"])
    assert sentence in answer.error


def test_a_lost_client_is_no_fault_of_ours() -> None:
    answer = EventServer().ask({"CONTENT_LENGTH": "5"}, Broken())

    assert (400, "Request body could not be read to its end") == (answer.status, answer.error)


# --- forms


def test_a_failing_store_is_a_500_without_details() -> None:
    server = EventServer(failure=ZeroDivisionError("password=hunter2"))

    answer = server.post('{"name":"a"}')

    assert 500 == answer.status
    expected = {"ids": [], "status": 500, "error": "The events could not be stored; send them again"}
    assert expected == answer.json


def test_a_store_that_refuses_says_so_with_its_own_status() -> None:
    answer = EventServer(failure=ConflictError("The database is read-only")).post('{"name":"a"}')

    assert (409, "The database is read-only") == (answer.status, answer.error)


# --- anything at all


_header = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=30)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    body=st.binary(max_size=300) | st.binary(max_size=40).map(lambda part: b'[{"name":"a"},{"data":' + part + b"}]"),
    content_type=st.sampled_from(["application/json", FORM, "multipart/form-data; boundary=b"]) | _header,
    encoding=st.sampled_from(["", "", "gzip", "deflate"]) | _header,
    seed=_header,
    key=_header,
    length=st.none() | _header,
)
def test_no_request_is_a_fault_of_ours(
    body: bytes, content_type: str, encoding: str, seed: str, key: str, length: str | None
) -> None:
    answer = EventServer(SMALL).post(
        body,
        PATH_INFO="/e/" + key.replace("/", ""),
        CONTENT_TYPE=content_type,
        CONTENT_LENGTH=str(len(body)) if length is None else length,
        HTTP_CONTENT_ENCODING=encoding,
        HTTP_X_INNGEST_EVENT_ID_SEED=seed,
        **{"wsgi.input_terminated": True},
    )

    if answer.status != 503:  # the key "none"
        assert answer.status < 500
    assert answer.status == answer.json["status"]


# --- behind a real server


def test_the_app_keeps_the_rules_of_wsgi() -> None:
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/e/key",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": "12",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(b'{"name":"a"}'),
        "wsgi.errors": StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }

    chunks = validator(EventServer().app)(environ, lambda status, headers, info=None: lambda data: None)

    assert b'"status":200' in b"".join(chunks)
    chunks.close()  # type: ignore[attr-defined]


@contextmanager
def served(app: IngestApp) -> Iterator[tuple[str, int]]:
    server = Server(("127.0.0.1", 0), app, numthreads=1)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server.bind_addr
    finally:
        server.stop()
        thread.join(10)


def statuses(address: tuple[str, int], *requests: bytes) -> list[int]:
    """The statuses of requests sent as they are, each on the connection of the last unless the server closed it."""
    found = []
    connection = HTTPConnection(*address, timeout=10)
    for request in requests:
        if connection.sock is None:
            connection.connect()
        connection.sock.sendall(request)
        with HTTPResponse(connection.sock, method="POST") as response:
            response.begin()
            assert response.status == json.loads(response.read())["status"]
            found.append(response.status)
            if response.will_close:
                connection.close()
    connection.close()
    return found


def test_requests_go_on_after_chunks_and_after_bodies_nobody_wanted() -> None:
    """What was not read of one request is never taken for the next."""
    head = b"POST /e/key HTTP/1.1\r\nHost: x\r\n"
    chunked = head + b'Transfer-Encoding: chunked\r\n\r\n6\r\n{"name\r\n6\r\n":"a"}\r\n0\r\n\r\n'
    large = head + b"Content-Length: 1500\r\n\r\n" + b"x" * 1_500
    unknown = b"POST /e/unknown HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    good = head + b'Content-Length: 12\r\n\r\n{"name":"a"}'

    with served(EventServer(SMALL).app) as address:
        answered = statuses(address, chunked, good, large, good, unknown, good)

    assert [200, 200, 413, 200, 401, 200] == answered
