"""The HTTP server as clients meet it: well-behaved ones, broken ones, slow ones, and too many of them."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse, IncompleteRead, RemoteDisconnected
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.api import connection as connections
from orchestrator.api import server as servers
from orchestrator.api.server import HttpServer
from orchestrator.api.wsgi_call import WHOLE, Headers

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PATIENCE = 30.0
MOST_BODY = 1_000
#: More than the system keeps for a client that does not read.
HUGE = 16 * 1024 * 1024


@dataclass
class Shop:
    """An application that answers by path, and tells what it was asked."""

    most_body: int = MOST_BODY
    asked: list[dict[str, Any]] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    answers: list[Callable[[], None]] = field(default_factory=list)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer in a thread."""
        try:
            body = environ["wsgi.input"].read()
        except OSError:
            start_response("400 Bad Request", [("Content-Length", "6")])
            return [b"broken"]
        self.asked.append({**environ, "body": body})
        declared = environ.get("CONTENT_LENGTH") or len(body)
        if int(declared) > self.most_body:
            start_response("413 Request Entity Too Large", [])
            return [b"too large"]
        return self._of(environ["PATH_INFO"], body, start_response)

    def _of(self, path: str, body: bytes, start_response: StartResponse) -> Iterable[bytes]:
        match path:
            case "/empty":
                start_response("204 No Content", [])
                return []
            case "/slow":
                self.entered.set()
                self.opened.wait(PATIENCE)
            case "/fails":
                raise ZeroDivisionError
            case "/forged":
                start_response("200 OK", [("X-Name", "a\r\nX-Other: b")])
            case "/parts":
                start_response("200 OK", [])
                return iter([b"one,", b"", b"two,", b"three"])
            case "/short":
                start_response("200 OK", [("Content-Length", str(WHOLE + 10))])
                return iter([b"less"])
            case "/breaks":
                start_response("200 OK", [])
                return self._breaking()
            case "/huge":
                start_response("200 OK", [("Content-Length", str(HUGE))])
                return self._huge()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return iter([body])

    def _breaking(self) -> Iterator[bytes]:
        yield b"so far so good"
        raise ZeroDivisionError

    def _huge(self) -> Iterator[bytes]:
        try:
            for _ in range(HUGE // 65_536):
                yield b"x" * 65_536
        finally:
            self.ended.set()

    def answer_soon(self, environ: WSGIEnvironment, answer: Callable[[str, Headers, bytes], None]) -> bool:
        """Keep the answers of some paths back until `let_go`."""
        path = environ["PATH_INFO"]
        if not path.startswith("/quick"):
            return False
        body = environ["wsgi.input"].read()
        self.answers.append(lambda: answer("200 OK", [], f"{path} {body.decode()}".encode()))
        self.entered.set()
        return True

    def let_go(self) -> None:
        for answer in self.answers:
            answer()
        self.answers.clear()


@dataclass
class Served:
    """A server in a thread of its own, and its address."""

    server: HttpServer
    port: int
    loop: asyncio.AbstractEventLoop

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def stop(self, grace: float) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(grace), self.loop).result(PATIENCE)


@contextmanager
def serving(shop: Shop, **options: Any) -> Iterator[Served]:
    loop = asyncio.new_event_loop()

    async def start(listener: socket.socket) -> HttpServer:
        server = HttpServer(shop, **options)
        await server.listen(listener)
        return server

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    served = Served(asyncio.run_coroutine_threadsafe(start(listener), loop).result(PATIENCE), port, loop)
    try:
        yield served
    finally:
        shop.opened.set()
        served.stop(0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def served(shop: Shop) -> Iterator[Served]:
    with serving(shop) as served:
        yield served


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server's patience with clients end within a second."""
    monkeypatch.setattr(servers, "LOOK", 0.05)
    monkeypatch.setattr(connections, "SILENCE", 0.4)
    monkeypatch.setattr(connections, "LINGER", 0.2)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Exact:
    """A socket's bytes as a file that never reads ahead, so that the next answer is still there."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def makefile(self, mode: str) -> Exact:
        return self

    def readline(self, limit: int = -1) -> bytes:
        line = b""
        while not line.endswith(b"\n") and (byte := self._client.recv(1)):
            line += byte
        return line

    def read(self, size: int = -1) -> bytes:
        pieces = list[bytes]()
        while size and (piece := self._client.recv(min(size, 65_536) if size > 0 else 65_536)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def flush(self) -> None: ...

    def close(self) -> None: ...


def read_answer(client: socket.socket, method: str = "POST") -> Answer:
    """Read one answer, and not a byte more."""
    response = HTTPResponse(Exact(client), method=method)  # type: ignore[arg-type]  # all of a socket that it uses
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def ask(served: Served, raw: bytes, method: str = "POST") -> Answer:
    with closing(served.connect()) as client:
        client.sendall(raw)
        return read_answer(client, method)


def request(path: str = "/echo", body: bytes = b"", *more: str, method: str = "POST", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: shop", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def is_closed(client: socket.socket) -> bool:
    """Wait for the server to close the connection; whether it did so without saying more."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def read_all(client: socket.socket) -> bytes:
    """Everything until the server closes the connection, each answer being one recv or more."""
    return b"".join(iter(lambda: client.recv(65_536), b""))


# --- requests and answers


def test_one_connection_carries_many_requests(served: Served) -> None:
    with closing(served.connect()) as client:
        answers = []
        for body in (b"first", b"second", b""):
            client.sendall(request(body=body))
            answers.append(read_answer(client))

    assert [b"first", b"second", b""] == [answer.body for answer in answers]
    assert {"keep-alive"} == {answer.headers["connection"] for answer in answers}


def test_requests_sent_ahead_are_answered_in_order(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/slow", b"a") + request("/empty") + request("/echo", b"b") + request("/echo", b"c"))
        assert shop.entered.wait(PATIENCE)
        assert 1 == len(shop.asked)
        shop.opened.set()
        statuses = [read_answer(client) for _ in range(4)]

    assert [(200, b"a"), (204, b""), (200, b"b"), (200, b"c")] == [(it.status, it.body) for it in statuses]


def test_an_application_is_told_what_was_asked(served: Served, shop: Shop) -> None:
    target = "/a%20b/%C3%A9?q=%20x"

    ask(
        served,
        request(target, b"{}", "Content-Type: text/x", "X-A: 1", "X-A: 2", "X_A: 3", "Cookie: a=1", "Cookie: b=2"),
    )

    (asked,) = shop.asked
    assert "/a b/\xc3\xa9" == asked["PATH_INFO"]
    assert "q=%20x" == asked["QUERY_STRING"]
    assert ("POST", "HTTP/1.1", "2", "text/x") == tuple(
        asked[name] for name in ("REQUEST_METHOD", "SERVER_PROTOCOL", "CONTENT_LENGTH", "CONTENT_TYPE")
    )
    assert ("1,2", "a=1; b=2", "shop") == (asked["HTTP_X_A"], asked["HTTP_COOKIE"], asked["HTTP_HOST"])
    assert ("127.0.0.1", str(served.port)) == (asked["REMOTE_ADDR"], asked["SERVER_PORT"])


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [("http://shop/a?b", "/a", "b"), ("http://shop", "/", ""), ("/a://b", "/a://b", ""), ("//a", "//a", "")],
)
def test_a_target_may_name_the_host(served: Served, shop: Shop, target: str, path: str, query: str) -> None:
    ask(served, request(target))

    assert [(path, query)] == [(asked["PATH_INFO"], asked["QUERY_STRING"]) for asked in shop.asked]


def test_a_chunked_body_arrives_whole(served: Served, shop: Shop) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"

    answer = ask(served, head + b"3\r\nabc\r\n4;note=x\r\ndefg\r\n0\r\nX-Trailer: 1\r\n\r\n")

    assert b"abcdefg" == answer.body
    assert "CONTENT_LENGTH" not in shop.asked[0]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_it_does_not_matter_in_which_pieces_a_request_comes(data: st.DataObject) -> None:
    whole = (
        request("/echo", b"x" * 50) + b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nyy\r\n0\r\n\r\n"
    )
    cuts = sorted(data.draw(st.lists(st.integers(1, len(whole) - 1), max_size=6, unique=True)))
    with serving(Shop()) as served, closing(served.connect()) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            client.sendall(whole[begin:end])
        assert [b"x" * 50, b"yy"] == [read_answer(client).body for _ in range(2)]


def test_an_answer_to_head_tells_its_length_and_has_no_body(served: Served) -> None:
    with closing(served.connect()) as client:
        for _ in range(2):
            client.sendall(request("/echo", b"12345", method="HEAD"))
            answer = read_answer(client, "HEAD")
            assert ("5", b"") == (answer.headers["content-length"], answer.body)


def test_an_answer_without_content_has_no_length(served: Served) -> None:
    answer = ask(served, request("/empty"))

    assert 204 == answer.status
    assert "content-length" not in answer.headers


@pytest.mark.parametrize(
    ("version", "asked", "kept"),
    [("1.1", "", True), ("1.1", "close", False), ("1.0", "", False), ("1.0", "keep-alive", True)],
)
def test_a_connection_is_kept_as_the_client_wishes(served: Served, version: str, asked: str, kept: bool) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/echo", b"a", *([f"Connection: {asked}"] if asked else []), version=version))
        assert ("keep-alive" if kept else "close") == read_answer(client).headers["connection"]
        if kept:
            client.sendall(request("/echo", b"b", version=version))
            assert b"b" == read_answer(client).body
        else:
            assert is_closed(client)


def test_parts_of_unknown_length_are_sent_as_they_are_made(served: Served) -> None:
    answer = ask(served, request("/parts"))

    assert "chunked" == answer.headers["transfer-encoding"]
    assert b"one,two,three" == answer.body


def test_an_old_client_gets_parts_until_the_connection_ends(served: Served) -> None:
    answer = ask(served, request("/parts", version="1.0"))

    assert "transfer-encoding" not in answer.headers
    assert b"one,two,three" == answer.body


def test_a_large_answer_arrives_whole(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/huge") + request("/echo", b"next"))
        assert HUGE == len(read_answer(client).body)
        assert b"next" == read_answer(client).body
    assert shop.ended.is_set()


def test_requests_of_many_clients_are_answered_each_to_its_own(served: Served) -> None:
    def talk(client_number: int) -> bool:
        with closing(HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)) as client:
            for number in range(20):
                body = f"{client_number}:{number}".encode()
                client.request("POST", "/echo", body)
                if client.getresponse().read() != body:
                    return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert [True] * 16 == list(pool.map(talk, range(16)))


def test_answers_given_by_another_thread_need_none_of_ours(shop: Shop) -> None:
    with serving(shop, threads=0) as served, ExitStack() as stack:
        clients = [stack.enter_context(closing(served.connect())) for _ in range(40)]
        for number, client in enumerate(clients):
            client.sendall(request(f"/quick/{number}", b"now"))
        _until(lambda: len(shop.answers) == 40)

        shop.let_go()

        assert [f"/quick/{number} now".encode() for number in range(40)] == [read_answer(it).body for it in clients]


# --- bodies that are too large, and clients that ask first


def test_a_client_that_asks_first_is_told_to_go_on(served: Served) -> None:
    with closing(served.connect()) as client:
        client.sendall(
            request("/echo", b"", "Expect: 100-continue").replace(b"Content-Length: 0", b"Content-Length: 5")
        )
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == client.recv(25, socket.MSG_WAITALL)
        client.sendall(b"12345")
        assert b"12345" == read_answer(client).body


def test_a_client_that_asks_first_with_too_much_is_not_told_to_go_on(served: Served) -> None:
    large = request("/echo", b"", "Expect: 100-continue").replace(b"Content-Length: 0", b"Content-Length: 1001")
    with closing(served.connect()) as client:
        client.sendall(large)
        answer = read_answer(client)
        assert (413, "close") == (answer.status, answer.headers["connection"])


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_not_far_too_large_is_thrown_away_and_the_connection_goes_on(served: Served, chunked: bool) -> None:
    with closing(served.connect()) as client:
        client.sendall(_chunked(1_900) if chunked else request("/echo", b"x" * 1_900))
        assert 413 == read_answer(client).status
        client.sendall(request("/echo", b"next"))
        assert b"next" == read_answer(client).body


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_far_too_large_is_answered_while_the_client_still_sends(served: Served, chunked: bool) -> None:
    body = _chunked(200_000) if chunked else request("/echo", b"x" * 200_000)
    with closing(served.connect()) as client:
        client.sendall(body)
        answer = read_answer(client)
        assert (413, "close") == (answer.status, answer.headers["connection"])


def test_of_a_body_too_large_no_more_is_kept_than_shows_it(served: Served) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(closing(served.connect()))
            client.sendall(_chunked(1_900)[:-5])  # all but its end
            client.sendall(b"")
        _until(lambda: served.server.room.held > 0)
        assert served.server.room.held <= 20 * 1_100
    _until(lambda: served.server.room.held == 0)


def test_large_bodies_that_find_no_room_are_refused_and_small_ones_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LARGE_AT_ONCE", 1)
    most = 200_000
    with serving(Shop(most_body=most)) as served, ExitStack() as stack:
        first = stack.enter_context(closing(served.connect()))
        first.sendall(request("/echo", b"x" * most)[:-1])
        _until(lambda: served.server.room.held == most - 1)

        second = ask(served, request("/echo", b"y" * most))

        assert 503 == second.status
        assert b"small" == ask(served, request("/echo", b"small")).body
        first.sendall(b"x")
        assert most == len(read_answer(first).body)
        assert 200 == ask(served, request("/echo", b"y" * most)).status


def _chunked(size: int) -> bytes:
    head = b"POST /echo HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"64\r\n%b\r\n" % (b"x" * 100) * (size // 100) + b"0\r\n\r\n"


# --- what is not HTTP


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01 hello\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA b\r\n\r\n", 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: unheard\r\n\r\n", 501),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 9_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request_is_refused_and_nothing_behind_it_is_read(
    served: Served, shop: Shop, raw: bytes, status: int
) -> None:
    with closing(served.connect()) as client:
        client.sendall(raw + request())
        answer = read_answer(client)

        assert (status, "close") == (answer.status, answer.headers["connection"])
        assert status == json.loads(answer.body)["status"]
        assert is_closed(client)
    assert [] == shop.asked


def test_a_broken_body_is_the_applications_to_refuse(served: Served) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"

    answer = ask(served, head + b"3\r\nabcdef")

    assert (400, b"broken", "close") == (answer.status, answer.body, answer.headers["connection"])


def test_an_offer_to_speak_another_protocol_is_passed_over(served: Served) -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    with closing(served.connect()) as client:
        client.sendall(request("/echo", b"first", *offer) + request("/echo", b"second"))

        assert [b"first", b"second"] == [read_answer(client).body for _ in range(2)]


# --- applications that fail


@pytest.mark.parametrize("path", ["/fails", "/forged"])
def test_an_application_that_fails_is_a_500_without_details(served: Served, path: str) -> None:
    answer = ask(served, request(path))

    assert 500 == answer.status
    assert {"error": "The server failed to answer; its log tells why", "status": 500} == json.loads(answer.body)


@pytest.mark.parametrize("path", ["/breaks", "/short"])
def test_an_answer_that_breaks_off_does_not_pass_for_a_whole_one(served: Served, path: str) -> None:
    with pytest.raises((IncompleteRead, ConnectionError)):
        ask(served, request(path))


# --- slow clients, and many


@pytest.mark.usefixtures("impatient")
def test_a_client_that_says_nothing_is_forgotten(served: Served) -> None:
    with closing(served.connect()) as client:
        assert is_closed(client)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("begun", [b"POST /echo HT", request("/echo", b"12345")[:-2]], ids=["head", "body"])
def test_a_request_that_does_not_go_on_is_given_up(served: Served, begun: bytes) -> None:
    with closing(served.connect()) as client:
        client.sendall(begun)
        assert 408 == read_answer(client).status


@pytest.mark.usefixtures("impatient")
def test_a_head_that_drips_is_given_up(served: Served) -> None:
    with closing(served.connect()) as client:
        client.settimeout(0.1)
        client.sendall(b"POST /echo HTTP/1.1\r\n")
        answer = b""
        for _ in range(int(PATIENCE / 0.1)):
            try:
                answer = client.recv(1_000)
                break
            except TimeoutError:
                client.sendall(b"X")

    assert b"HTTP/1.1 408 " == answer[:13]


@pytest.mark.usefixtures("impatient")
def test_a_body_may_be_slow_as_long_as_it_comes(served: Served) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/echo", b"123456")[:-6])
        for byte in b"123456":
            time.sleep(0.2)  # together longer than the silence that is borne
            client.sendall(bytes([byte]))
        assert b"123456" == read_answer(client).body


@pytest.mark.usefixtures("impatient")
def test_a_client_that_does_not_take_its_answer_is_given_up(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/huge"))

        assert shop.ended.wait(PATIENCE)


@pytest.mark.usefixtures("impatient")
def test_a_connection_that_rests_too_long_is_closed(shop: Shop) -> None:
    with serving(shop, keepalive=0.2) as served, closing(served.connect()) as client:
        client.sendall(request())
        assert 200 == read_answer(client).status
        assert is_closed(client)


def test_slow_clients_take_no_threads(shop: Shop) -> None:
    with serving(shop, threads=1) as served, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(closing(served.connect())).sendall(request("/echo", b"12345")[:-1])

        assert b"mine" == ask(served, request("/echo", b"mine")).body


def test_more_clients_than_there_is_room_for_are_told_so(shop: Shop) -> None:
    with serving(shop, connections=2) as served:
        with closing(served.connect()), closing(served.connect()):
            _until(lambda: len(served.server._connections) == 2)
            with closing(served.connect()) as third:
                assert 503 == read_answer(third).status
        _until(lambda: not served.server._connections)
        assert 200 == ask(served, request()).status


def test_a_client_that_has_said_all_still_gets_its_answer(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/slow", b"bye"))
        assert shop.entered.wait(PATIENCE)
        client.shutdown(socket.SHUT_WR)
        shop.opened.set()

        assert re.search(rb"^HTTP/1.1 200 OK\r\n.*\r\n\r\nbye$", read_all(client), re.DOTALL)


def test_a_client_that_is_gone_harms_nobody(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/slow"))
        assert shop.entered.wait(PATIENCE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no polite goodbye
    _until(lambda: not served.server._connections)
    shop.opened.set()

    assert b"mine" == ask(served, request("/echo", b"mine")).body


# --- the end


def test_at_the_end_idle_connections_are_closed_and_requests_under_way_answered(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as idle, closing(served.connect()) as busy:
        idle.sendall(request())
        read_answer(idle)
        busy.sendall(request("/slow", b"in time"))
        assert shop.entered.wait(PATIENCE)
        stopping = threading.Thread(target=served.stop, args=(PATIENCE,))
        stopping.start()

        assert is_closed(idle)
        shop.opened.set()
        answer = read_answer(busy)
        assert (b"in time", "close") == (answer.body, answer.headers["connection"])
        stopping.join(PATIENCE)
        assert not stopping.is_alive()
    with pytest.raises(ConnectionRefusedError):
        served.connect()


def test_a_client_that_has_just_come_gets_an_answer_at_the_end(served: Served) -> None:
    with closing(served.connect()) as client:
        _until(lambda: len(served.server._connections) == 1)
        stopping = threading.Thread(target=served.stop, args=(PATIENCE,))
        stopping.start()
        _until(lambda: served.server.stopping)

        client.sendall(request("/echo", b"first"))

        assert b"first" == read_answer(client).body
        stopping.join(PATIENCE)


def test_the_end_does_not_wait_for_ever(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as busy:
        busy.sendall(request("/slow"))
        assert shop.entered.wait(PATIENCE)

        served.stop(0.1)

        with pytest.raises((RemoteDisconnected, ConnectionError)):
            read_answer(busy)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
