"""One HTTP/1.1 connection on an event loop.

Theory.  A connection reads one request whole, has it answered, and only then reads the next; what a client sends
meanwhile is left in the socket.  So a client, however slow, costs a connection and its body so far, never a thread.

    READING    a head, then a body, come in; no more of a body is kept than the application would read
    ANSWERING  the request is with the application; nothing is read
    CLOSED     nothing more is said; what the client still sends is thrown away, so that it can read our answer

All of this runs on the loop; only the methods of `Way`, which hand an answer over, are called from other threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

import orjson

from orchestrator.api.incoming import Incoming, RefusedError, Room
from orchestrator.api.wsgi_call import GoneError, Headers

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

#: Seconds a client may say nothing in the middle of a request, take nothing of its answer, or take for a head.
SILENCE = 10.0
#: Seconds a client may take for a whole request.
WHOLE_REQUEST = 300.0
#: Seconds a new client has for its first request when the server is about to end.
FIRST = 1.0
#: Seconds for which a client's bytes are thrown away, so that it may read why.
LINGER = 2.0
#: What programs are told of refusals that come before any route.
_CODES = {
    408: "timeout",
    413: "too_large",
    414: "too_large",
    431: "too_large",
    500: "internal",
    501: "not_implemented",
    503: "unavailable",
}
#: What the server says itself.
_OURS = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})


class State(Enum):
    """What a connection is about."""

    READING = auto()
    ANSWERING = auto()
    CLOSED = auto()


class Host(Protocol):
    """The server, as its connections see it."""

    loop: asyncio.AbstractEventLoop
    scheme: str
    #: Seconds a connection may rest between two requests.
    keepalive: float
    room: Room
    stopping: bool

    def opened(self, connection: Connection) -> bool:
        """Take note of a connection; returns whether there is room for it."""

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""

    def date(self) -> str:
        """The time as HTTP writes it."""

    def on_loop(self, deed: Callable[[], None]) -> None:
        """Do something on the loop, soon; from any thread."""

    def serve(self, environ: WSGIEnvironment, connection: Connection) -> None:
        """Have a request answered by the methods of `Way`."""


class Connection(asyncio.Protocol):
    """Reads requests and writes their answers, in order; a `Way` of `api.wsgi_call`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._transport: asyncio.Transport
        self._incoming = Incoming(host.room, self._say_continue)
        self._state = State.READING
        #: When patience with what the client sends ends, and with how much it takes, in seconds of the loop.
        self._deadline: float | None = None
        self._taken, self._taken_until = 0, 0.0
        self._written = 0
        self._room = threading.Event()
        self._room.set()
        #: What came before its time.
        self._ahead = b""
        self._eof = self._served = False
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._began: float | None = None
        #: Of an answer in parts: bytes that are to come still (None: it is sent in chunks, or until the end).
        self._left: int | None = None
        self._chunked = self._begun = self._last = False

    # --- what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._deadline = self._host.loop.time() + SILENCE
        if not self._host.opened(self):
            self._refuse(503, "Too many connections")
        elif self._host.stopping:
            self.close_soon()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self._state is State.READING:
            self._feed(data)
        elif self._state is State.ANSWERING:
            self._ahead += data
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more; an answer under way is for it all the same."""
        self._eof = True
        return self._state is State.ANSWERING

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._state = State.CLOSED
        self._incoming.release()
        self._room.set()
        self._host.closed(self)

    def pause_writing(self) -> None:
        """The client is slower than its answer."""
        self._room.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._room.set()

    # --- what the server tells

    def check(self, now: float) -> None:
        """Give a client up that keeps us waiting."""
        unsent = self._transport.get_write_buffer_size()
        if unsent:
            taken = self._written - unsent
            if taken > self._taken or not self._taken_until:
                self._taken, self._taken_until = taken, now + SILENCE
            elif now > self._taken_until:
                self._transport.abort()
            return
        self._taken_until = 0.0
        if self._deadline is None or now <= self._deadline:
            return
        if self._state is State.READING and self._began is not None:
            self._refuse(408, "The request was too long in coming")
        else:
            self._transport.abort()

    def close_soon(self) -> None:
        """Close the connection if it rests; a request under way, or the first about to come, is answered before."""
        if self._state is not State.READING or self._began is not None:
            return
        if self._served:
            self._state = State.CLOSED
            self._transport.close()
        else:
            self._deadline = self._host.loop.time() + FIRST

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    # --- reading

    def _feed(self, data: bytes) -> None:
        try:
            complete = self._incoming.feed(data)
        except RefusedError as refused:
            self._refuse(refused.status, refused.sentence)
            return
        if complete:
            self._state, self._deadline = State.ANSWERING, None
            self._host.serve(self._incoming.environ(self._host.scheme, *self._addresses()), self)
            return
        now = self._host.loop.time()
        if self._began is None:
            self._began = now
            self._deadline = now + SILENCE
        elif self._incoming.in_body:
            self._deadline = min(now + SILENCE, self._began + WHOLE_REQUEST)

    def _say_continue(self) -> None:
        self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _addresses(self) -> tuple[tuple[str, str], str]:
        """The server's name and port, and the client's name; a local socket has neither."""
        ours, theirs = (self._transport.get_extra_info(name) for name in ("sockname", "peername"))
        server = (str(ours[0]), str(ours[1])) if isinstance(ours, tuple) else ("localhost", "")
        return server, str(theirs[0]) if isinstance(theirs, tuple) else ""

    # --- answering: a `Way`, called from any thread

    def whole(self, status: str, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self._host.on_loop(partial(self._send_whole, status, headers, body))

    def begin(self, status: str, headers: Headers) -> None:
        """Send the head of an answer whose body follows in parts."""
        self._host.on_loop(partial(self._send_head, status, headers))

    def part(self, data: bytes) -> None:
        """Send a part and wait until there is room for more.  Raises `GoneError`."""
        sent = threading.Event()
        self._host.on_loop(partial(self._send_part, data, sent))
        if not sent.wait(WHOLE_REQUEST) or not self._room.wait(WHOLE_REQUEST) or self._state is not State.ANSWERING:
            raise GoneError

    def end(self) -> None:
        """Say that there are no more parts."""
        self._host.on_loop(self._send_end)

    def fail(self) -> None:
        """Tell that the answer cannot be made; in the middle of one, cut it off."""
        self._host.on_loop(self._send_failure)

    # --- answering, on the loop

    def _send_whole(self, status: str, headers: Headers, body: bytes) -> None:
        if self._state is not State.ANSWERING:
            return
        length: str | None = str(len(body))
        if self._incoming.is_head_request:
            length, body = _declared(headers) or length, b""
        elif _is_bodiless(status):
            length, body = None, b""
        self._write(self._head(status, headers, f"Content-Length: {length}\r\n" if length is not None else "") + body)
        self._answered()

    def _send_head(self, status: str, headers: Headers) -> None:
        if self._state is not State.ANSWERING:
            return
        self._begun = True
        declared = _declared(headers)
        framing = ""
        if declared is not None:
            framing = f"Content-Length: {declared}\r\n"
            self._left = int(declared)
        elif self._incoming.knows_chunks and not _is_bodiless(status):
            framing, self._chunked = "Transfer-Encoding: chunked\r\n", True
        else:
            self._last = True
        if self._incoming.is_head_request or _is_bodiless(status):
            self._left, self._chunked = 0, False
        self._write(self._head(status, headers, framing))

    def _send_part(self, data: bytes, sent: threading.Event) -> None:
        if self._state is State.ANSWERING:
            if self._left is not None:
                data = data[: self._left]  # more would pass for the next answer
                self._left -= len(data)
            if data:
                self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        sent.set()

    def _send_end(self) -> None:
        if self._state is not State.ANSWERING:
            return
        if self._chunked:
            self._write(b"0\r\n\r\n")
        self._last = self._last or bool(self._left)  # the client waits for what never comes
        self._answered()

    def _send_failure(self) -> None:
        if self._state is State.ANSWERING and self._begun:
            self._transport.abort()
        elif self._state is State.ANSWERING:
            self._refuse(500, "The server failed to answer; its log tells why")

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer in the application's place, and close."""
        self._incoming.unread = True
        body = orjson.dumps(
            {"code": _CODES.get(status, "invalid_request"), "error": sentence, "data": None, "status": status}
        )
        line = f"{status} {HTTPStatus(status).phrase}"
        head = self._head(line, [("Content-Type", "application/json")], f"Content-Length: {len(body)}\r\n")
        self._write(head + body)
        self._close()

    def _head(self, status: str, headers: Headers, framing: str) -> bytes:
        if not self._goes_on():
            self._last = True
        lines = [
            f"HTTP/1.1 {status}\r\nServer: orchestrator\r\nDate: {self._host.date()}\r\n"
            f"Connection: {'close' if self._last else 'keep-alive'}\r\n{framing}",
            *[f"{name}: {value}\r\n" for name, value in headers if name.lower() not in _OURS],
            "\r\n",
        ]
        return "".join(lines).encode("latin-1")

    def _goes_on(self) -> bool:
        """Whether another request may follow on this connection."""
        return self._incoming.may_go_on and not (self._last or self._eof or self._host.stopping)

    def _write(self, data: bytes) -> None:
        self._written += len(data)
        self._transport.write(data)

    def _answered(self) -> None:
        """Go on to the next request, or close."""
        if not self._goes_on():
            self._close()
            return
        self._served = True
        self._ahead = self._incoming.next() + self._ahead
        self._start_afresh()
        self._deadline = self._host.loop.time() + self._host.keepalive
        if self._ahead:
            self._host.loop.call_soon(self._go_on)  # not at once: thousands of requests may have come in one piece
        else:
            self._state = State.READING

    def _go_on(self) -> None:
        if self._state is State.ANSWERING:
            self._state = State.READING
            data, self._ahead = self._ahead, b""
            self._transport.resume_reading()
            self._feed(data)

    def _close(self) -> None:
        """Close the connection when all is sent, and in a way that lets the client read it."""
        self._state = State.CLOSED
        self._incoming.release()
        self._ahead = b""
        if not self._incoming.unread or self._eof or not self._transport.can_write_eof():
            self._transport.close()
            return
        # Bytes that nobody read would make the system throw our answer away.
        self._transport.write_eof()
        self._transport.resume_reading()
        self._deadline = self._host.loop.time() + LINGER


def _is_bodiless(status: str) -> bool:
    return status[:3] in ("204", "304")


def _declared(headers: Headers) -> str | None:
    """The length an application declares, where it is a number."""
    found = next((value for name, value in headers if name.lower() == "content-length"), "")
    return found if found.isascii() and found.isdecimal() else None
