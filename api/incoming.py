"""Requests as they come in over one connection: where each ends, and how much of its body is kept.

The parser is gunicorn's own, with its limits and its strictness about where a message ends: what it takes for one
request, a proxy in front of us takes for one, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gunicorn.asgi.parser import (
    RFC9112_TARGET_INVALID,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseError,
    PythonProtocol,
    UnsupportedTransferCoding,
)

from orchestrator.api.wsgi_call import BrokenBody, environ_of

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

#: Bodies above this share the room that is left for large ones.
LARGE = 64 * 1024

_STATUS_OF = {LimitRequestLine: 414, LimitRequestHeaders: 431, UnsupportedTransferCoding: 501}


@dataclass(slots=True)
class Room:
    """The bytes of bodies that all connections of a server keep together."""

    #: Bytes of a body that the application would read.
    most_body: int
    #: Bytes beyond which no large body is taken any more.
    most_held: int
    held: int = 0


class RefusedError(Exception):
    """A request that the application never sees."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Incoming:
    """One request after the other.  `say_continue` is called when a client waits to be told that it may send a body."""

    def __init__(self, room: Room, say_continue: Callable[[], None]) -> None:
        self._room = room
        self._say_continue = say_continue
        self._parser = PythonProtocol(on_headers_complete=self._head_read, on_body=self._piece_read)
        self._start_afresh()

    def _start_afresh(self) -> None:
        #: Whether the head is there, and a body comes in.
        self.in_body = False
        #: Whether something of the request is not read, so that nobody knows where the next one begins.
        self.unread = False
        self._crowded = self._broken = False
        self._pieces = list[bytes]()
        self._size = self._kept = 0

    @property
    def is_head_request(self) -> bool:
        """Whether only the head of the answer is asked for."""
        return bool(self._parser.method == b"HEAD")

    @property
    def knows_chunks(self) -> bool:
        """Whether the client understands an answer in chunks."""
        return self._parser.http_version is not None and bool(self._parser.http_version >= (1, 1))

    @property
    def may_go_on(self) -> bool:
        """Whether another request may follow this one."""
        parser = self._parser
        return bool(parser.should_keep_alive and parser.method != b"CONNECT" and not self.unread)

    def feed(self, data: bytes) -> bool:
        """Take what came; returns whether the request can be answered now.

        Raises `RefusedError` for what is no request, and for one there is no room for.
        """
        parser = self._parser
        try:
            parser.feed(data)
        except ParseError as error:
            self.unread = self._broken = True
            if not self.in_body:
                raise RefusedError(_STATUS_OF.get(type(error), 400), str(error) or "This is not HTTP/1.1") from None
            return True  # for the application to refuse
        if self._crowded:
            raise RefusedError(503, "There is no room for so many large requests at once; send it again")
        if not (parser.is_complete or self.unread):
            return False
        if RFC9112_TARGET_INVALID.search(parser.path):
            self.unread = True
            raise RefusedError(400, "The request's target is not a URI")
        return True

    def environ(self, scheme: str, server: tuple[str, str], client: str) -> WSGIEnvironment:
        """What WSGI tells an application about the request."""
        body = BrokenBody() if self._broken else b"".join(self._pieces)
        return environ_of(self._parser, body, scheme, server, client)

    def next(self) -> bytes:
        """Forget the request; returns what has come of those behind it."""
        behind: bytes = self._parser.remaining()
        self._parser.reset()
        self.release()
        self._start_afresh()
        return behind

    def release(self) -> None:
        """Give the room back that the body takes."""
        self._room.held -= self._kept
        self._pieces, self._kept = [], 0

    def _head_read(self) -> bool:
        """Called by the parser; True: there is no body, or none that anybody would read."""
        parser, most = self._parser, self._room.most_body
        self.in_body = True
        expects = self.knows_chunks and any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in parser.headers
        )
        declared = parser.content_length or 0
        # A client that asks first can be told without reading what it would send.
        self.unread = declared > (most if expects else 2 * most)
        if expects and not self.unread and (declared or parser.is_chunked):
            self._say_continue()
        return self.unread

    def _piece_read(self, piece: bytes) -> None:
        """Called by the parser.  Of a body that is too large no more is kept than proves that it is."""
        room = self._room
        most = room.most_body
        if self._size <= most and (self._parser.content_length or 0) <= most and not self.unread:
            self._pieces.append(piece)
            self._kept += len(piece)
            room.held += len(piece)
            self._crowded = self._kept > LARGE and room.held > room.most_held
        self._size += len(piece)
        self.unread = self.unread or self._crowded or self._size > 2 * most
