"""Calling a WSGI application in a thread, for a server whose connections live on an event loop (see `api.connection`).

What the application may ask of its request is a dictionary, the environ; what it answers goes through a `Way` back to
the connection: whole where it is small or ends by itself, else piece by piece as it is made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_to_bytes

from orchestrator import log

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_log = log.get(__name__)

Headers = Sequence[tuple[str, str]]

#: An answer whose length is known and no greater is sent whole.
WHOLE = 1024 * 1024
#: HTTP's names that CGI, and so WSGI, writes without a prefix.
_CGI = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


class GoneError(Exception):
    """The client is gone: nobody is there to take the answer."""


class Way(Protocol):
    """How an answer made in a thread reaches the client.  Nothing is sent for a client that is gone."""

    def whole(self, status: str, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""

    def begin(self, status: str, headers: Headers) -> None:
        """Send the head of an answer whose body follows in parts."""

    def part(self, data: bytes) -> None:
        """Send a part and wait until there is room for more.  Raises `GoneError`."""

    def end(self) -> None:
        """Say that there are no more parts."""

    def fail(self) -> None:
        """Tell that the answer cannot be made; in the middle of one, cut it off."""


class BrokenBody:
    """The input of a request whose body breaks the rules of HTTP."""

    def read(self, size: int = -1) -> bytes:
        """Raise what WSGI servers raise."""
        raise OSError("the body is not framed as HTTP wants it")

    readline = readlines = __iter__ = read


class Request(Protocol):
    """A request's head as gunicorn's parser has it; the names of headers are in lower case."""

    method: bytes
    path: bytes
    http_version: tuple[int, int]
    headers: list[tuple[bytes, bytes]]


def environ_of(
    request: Request, body: bytes | BrokenBody, scheme: str, server: tuple[str, str], client: str
) -> WSGIEnvironment:
    """What WSGI tells an application about a request."""
    path, _, query = _origin_form(request.path).partition(b"?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method.decode("latin-1"),
        "SCRIPT_NAME": "",
        "PATH_INFO": (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": server[1],
        "SERVER_PROTOCOL": f"HTTP/{request.http_version[0]}.{request.http_version[1]}",
        "REMOTE_ADDR": client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": BytesIO(body) if isinstance(body, bytes) else body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in request.headers:
        key = _key(name)
        if key in environ:
            environ[key] += ("; " if key == "HTTP_COOKIE" else ",") + value.decode("latin-1")
        elif key:
            environ[key] = value.decode("latin-1")
    return environ


@lru_cache(maxsize=512)
def _key(name: bytes) -> str:
    """A header's key; none for a name with an underscore, which would pass for another's with a dash."""
    return "" if b"_" in name else _CGI.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


def _origin_form(target: bytes) -> bytes:
    """A request's target without scheme and host, which a proxy's client puts there."""
    scheme, found, rest = target.partition(b"://")
    if not found or b"/" in scheme or b"?" in scheme:
        return target
    return rest[len(rest.partition(b"/")[0]) :] or b"/"


def call(app: WSGIApplication, environ: WSGIEnvironment, way: Way) -> None:
    """Let the application answer a request; never raises."""
    answer = _Answer()
    try:
        result = app(environ, answer.start)
        try:
            _send(result, answer, way)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
    except GoneError:
        pass
    except Exception:
        _log.exception("request failed", path=environ["PATH_INFO"])
        way.fail()


class _Answer:
    """What the application has said about its answer so far."""

    def __init__(self) -> None:
        self.status = ""
        self.headers: Headers = []
        #: What is to be sent together.
        self.gathered = list[bytes]()

    @property
    def start(self) -> StartResponse:
        return self._start

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        if self.status and exc_info is None:
            raise RuntimeError("start_response was called twice")
        for name, value in headers:  # one that breaks a line would forge an answer
            if not set(f"{name}{value}").isdisjoint("\r\n\0"):
                raise ValueError(f"a header has a line break in it: {name!r}")
            value.encode("latin-1")
        self.status, self.headers = status, headers
        return self.gathered.append

    def ends_by_itself(self) -> bool:
        """Whether its declared length says that it is small."""
        declared = next((value for name, value in self.headers if name.lower() == "content-length"), "")
        return declared.isdecimal() and int(declared) <= WHOLE


def _send(result: Iterable[bytes], answer: _Answer, way: Way) -> None:
    """Send what the application gives; pieces of unknown or great length at once, as each may be long in coming."""
    whole, begun = isinstance(result, list | tuple), False
    for piece in result:
        if begun:
            way.part(piece)
            continue
        answer.gathered.append(piece)
        whole = whole or answer.ends_by_itself()
        if not whole and piece:
            way.begin(answer.status, answer.headers)
            way.part(b"".join(answer.gathered))
            begun = True
    if not answer.status:
        raise RuntimeError("start_response was not called")
    if begun:
        way.end()
    else:
        way.whole(answer.status, answer.headers, b"".join(answer.gathered))
