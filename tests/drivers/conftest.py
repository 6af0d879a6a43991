"""A site: a small HTTP server on a real socket whose every byte a test decides."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from orchestrator.drivers.curl import CurlClient
from tests.drivers.asking import OPEN


@dataclass
class Received:
    """One request as it came over the socket."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Behaviour = Callable[[socket.socket, Received], bool]


@dataclass
class Site:
    """Counts connections and keeps requests; `behave` answers and tells whether the connection stays open."""

    behave: Behaviour
    host: str = "127.0.0.1"
    connections: int = 0
    requests: list[Received] = field(default_factory=list)
    port: int = 0
    _open: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family, backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.append(connection)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while (received := _read(connection)) is not None:
                with self._lock:
                    self.requests.append(received)
                if not self.behave(connection, received):
                    return


def _read(connection: socket.socket) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(65536)):
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    return Received(method, target, headers, body)


def answer(body: bytes = b"", status: str = "200 OK", headers: str = "") -> bytes:
    """The bytes of a whole answer."""
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    """Start sites that behave as told, and stop them after the test."""
    sites: list[Site] = []

    def start(behave: Behaviour, host: str = "127.0.0.1") -> Site:
        sites.append(Site(behave, host))
        return sites[-1]

    yield start
    for site in sites:
        site.stop()


@pytest.fixture
def echo(serve: Callable[..., Site]) -> Site:
    """A site that keeps connections open and answers what it got."""

    def behave(connection: socket.socket, received: Received) -> bool:
        connection.sendall(answer(received.body, headers="X-Method: " + received.method + "\r\n"))
        return True

    return serve(behave)


@pytest.fixture
def reply_with(serve: Callable[..., Site]) -> Callable[..., Site]:
    """Start a site that sends these bytes to every request and then closes, unless `keep`."""

    def start(data: bytes, *, keep: bool = False) -> Site:
        def behave(connection: socket.socket, received: Received) -> bool:
            connection.sendall(data)
            return keep

        return serve(behave)

    return start


@pytest.fixture
def whole_answer() -> Callable[..., bytes]:
    """Build the bytes of an answer."""
    return answer


@pytest.fixture
def client() -> Iterator[CurlClient]:
    """A client that may reach this machine."""
    client = CurlClient(policy=OPEN)
    yield client
    client.close()
