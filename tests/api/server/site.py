"""A shop to be served, and clients that speak to it byte by byte."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

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

    def stop_waiting(self) -> None:
        """What is kept back here is work, not waiting."""

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


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
