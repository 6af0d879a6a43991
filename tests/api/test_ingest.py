"""The event API as a client sees it: statuses, sentences, headers, and what was stored for which answer."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPResponse
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
from cheroot.wsgi import Server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.api.cors import cors_headers
from orchestrator.api.ingest import IngestApp
from orchestrator.clock import SettableClock
from orchestrator.core.event import Event
from orchestrator.errors import ConflictError, RequestError, UnauthorizedError
from orchestrator.protocol.events import EventLimits, seeded_ids

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SEED = "1700000000000,AAECAwQFBgcICQ=="
FORM = "application/x-www-form-urlencoded"
SMALL = EventLimits(event_bytes=200, request_bytes=1_000, events=3)


class NoKeysError(RequestError):
    """Event keys are required to process events securely."""

    status = 503


@dataclass
class EventServer:
    """An ingest app around a store that is a list, asked as a WSGI server would ask it."""

    limits: EventLimits = field(default_factory=EventLimits)
    failure: Exception | None = None
    stored: list[Event] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    @property
    def app(self) -> IngestApp:
        return IngestApp(
            elsewhere, self.accept, self.authorize, clock=SettableClock(NOW), limits=self.limits, server_kind="cloud"
        )

    def accept(self, events: Sequence[Event]) -> list[str]:
        if self.failure is not None:
            raise self.failure
        self.stored.extend(events)
        return [event.id for event in events]

    def authorize(self, key: str) -> None:
        self.keys.append(key)
        if key == "unknown":
            raise UnauthorizedError("Event key not found")
        if key == "none":
            raise NoKeysError

    def post(self, body: bytes | str, **environ: Any) -> Answer:
        raw = body.encode() if isinstance(body, str) else body
        return self.ask({"CONTENT_LENGTH": str(len(raw)), **environ}, BytesIO(raw))

    def ask(self, environ: WSGIEnvironment, stream: Any) -> Answer:
        started: list[tuple[str, list[tuple[str, str]]]] = []
        request = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/e/key",
            "CONTENT_TYPE": "application/json",
            "wsgi.input": stream,
            **environ,
        }

        def start_response(
            status: str, headers: list[tuple[str, str]], info: object = None, /
        ) -> Callable[[bytes], object]:
            started.append((status, headers))
            return lambda data: None

        body = b"".join(self.app(request, start_response))
        ((status, headers),) = started
        return Answer(int(status.split()[0]), dict(headers), body)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value

    @property
    def error(self) -> str:
        return str(self.json["error"])


class Trickle:
    """An input that gives a few bytes at a time and knows how many were taken."""

    def __init__(self, body: bytes, step: int = 7) -> None:
        self._rest = BytesIO(body)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(min(size, self._step))

    @property
    def taken(self) -> int:
        return self._rest.tell()


class Broken:
    """An input whose client is gone."""

    def read(self, size: int = -1) -> bytes:
        raise ConnectionResetError("gone")


def elsewhere(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"elsewhere"]


# --- without a thread


class LaterServer(EventServer):
    """The same, asked without a thread where that may be."""

    @property
    def app(self) -> IngestApp:
        return IngestApp(
            elsewhere,
            self.accept,
            self.authorize,
            accept_soon=self.accept_soon,
            clock=SettableClock(NOW),
            limits=self.limits,
            server_kind="cloud",
        )

    def accept_soon(self, events: Sequence[Event], done: Callable[[list[str] | BaseException], None]) -> None:
        try:
            done(self.accept(events))
        except Exception as error:
            done(error)

    def post_soon(self, body: bytes, **environ: Any) -> Answer | None:
        answered: list[Answer] = []

        def answer(status: str, headers: Sequence[tuple[str, str]], content: bytes) -> None:
            answered.append(Answer(int(status.split()[0]), dict(headers), content))

        request = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/e/key",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": BytesIO(body),
            **environ,
        }
        taken = self.app.answer_soon(request, answer)
        assert taken is bool(answered)
        return answered[0] if taken else None


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


def test_a_body_that_comes_in_pieces_is_put_together() -> None:
    body = b'{"name":"a","data":{"x":"yyyyyyyyyyyyyyyy"}}'

    answer = EventServer().ask({"CONTENT_LENGTH": str(len(body))}, Trickle(body))

    assert 200 == answer.status


def test_no_more_is_read_than_declared() -> None:
    """What follows belongs to the next request of the connection."""
    stream = Trickle(b'{"name":"a"}POST /e/key HTTP/1.1')

    answer = EventServer().ask({"CONTENT_LENGTH": "12"}, stream)

    assert (200, 12) == (answer.status, stream.taken)


def test_a_chunked_body_is_read_to_its_end() -> None:
    answer = EventServer().ask({"wsgi.input_terminated": True}, Trickle(b'{"name":"a"}'))

    assert 200 == answer.status


def test_without_length_or_chunks_there_is_no_body() -> None:
    answer = EventServer().ask({}, Broken())

    assert (400, "Request body is empty") == (answer.status, answer.error[:21])


@pytest.mark.parametrize(
    ("length", "environ", "taken"),
    [(1_001, {}, 1_001), (2_000, {}, 2_000), (2_001, {}, 0), (1_001, {"HTTP_EXPECT": "100-continue"}, 0)],
)
def test_a_body_too_large_is_thrown_away_up_to_a_bound(length: int, environ: dict[str, str], taken: int) -> None:
    """A client that sends all before it listens still hears the answer; nobody makes us read without end."""
    stream = Trickle(b"[" * 3_000)

    answer = EventServer(SMALL).ask({"CONTENT_LENGTH": str(length), **environ}, stream)

    assert (413, taken) == (answer.status, stream.taken)
    assert f"Request body has {length} bytes, the limit is 1000 bytes" == answer.error


def test_a_chunked_body_too_large_is_thrown_away_up_to_a_bound() -> None:
    stream = Trickle(b"[" * 100_000, step=600)

    answer = EventServer(SMALL).ask({"wsgi.input_terminated": True}, stream)

    assert (413, 2_400) == (answer.status, stream.taken)
    assert "Request body has more than 1000 bytes, the limit is 1000 bytes" == answer.error


def test_a_small_body_that_decompresses_beyond_the_limit_is_too_large() -> None:
    answer = EventServer(SMALL).post(gzip.compress(b" " * 100_000, mtime=0), HTTP_CONTENT_ENCODING="gzip")

    assert (413, "has more than 1000 bytes when decompressed") == (answer.status, answer.error[13:55])


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


def test_an_urlencoded_form_is_one_event() -> None:
    server = EventServer()

    answer = server.post("name=form%2Fsent&user_id=7&note=caf%C3%A9+au+lait", CONTENT_TYPE=f"{FORM}; charset=utf-8")

    (event,) = server.stored
    assert (200, "form/sent") == (answer.status, event.name)
    assert {"user_id": "7", "note": "café au lait"} == json.loads(event.data)


def multipart(*parts: tuple[str, str]) -> bytes:
    written = "".join(f"--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n" for head, text in parts)
    return f"{written}--b--\r\n".encode()


def test_a_multipart_form_is_one_event() -> None:
    server = EventServer()
    body = multipart(('name="name"', "a"), ('name="data"', '{"n":123456789012345678901}'), ('name="x"', "é"))

    answer = server.post(body, CONTENT_TYPE="Multipart/Form-Data; boundary=b")

    assert (200, '{"n":123456789012345678901,"x":"é"}') == (answer.status, server.stored[0].data)


def test_a_file_in_a_form_is_refused_by_name() -> None:
    body = multipart(('name="name"', "a"), ('name="avatar"; filename="me.png"', "PNG"))

    answer = EventServer().post(body, CONTENT_TYPE="multipart/form-data; boundary=b")

    assert (400, 'form field "avatar" is a file; an event is made of text fields only') == (answer.status, answer.error)


@pytest.mark.parametrize("kind", [FORM, "multipart/form-data; boundary=b"])
def test_a_form_of_too_many_fields_is_too_large(kind: str) -> None:
    body = b"a=&" * 1_001 if kind == FORM else multipart(*[('name="a"', "")] * 1_001)

    answer = EventServer().post(body, CONTENT_TYPE=kind)

    assert (413, True) == (answer.status, "1000" in answer.error)


# --- faults of ours


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
