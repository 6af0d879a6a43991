"""Bounded HTTP requests on libcurl: `HttpClient` with limits of time, size and address.

Each thread has a handle of its own, which keeps its connections open for the next request and ends with the thread.  A
forked process makes new handles: its parent's are kept but never touched, because to clean them up would say goodbye
on connections that the parent still uses.

A server may close an idle connection at the moment a request goes out on it; libcurl then sends that request again on a
new one.  It would do the same for an app that dies in the middle of its work, and so run a step twice for one attempt.
Such a late repetition is refused: a connection that was dead when we used it says so at once.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import pycurl

from orchestrator import __version__
from orchestrator.drivers.base import Response
from orchestrator.drivers.guard import AddressPolicy
from orchestrator.drivers.mishap import explain
from orchestrator.errors import TransportError

MEBIBYTE: Final = 1024 * 1024
#: How long after sending a dead kept-alive connection may still be replaced.
REPEAT_WITHIN: Final = timedelta(seconds=1)
_BLANK: Final = (b"\r\n", b"\n")
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class CurlClient:
    """Make requests from any number of threads; redirects are not followed and certificates are verified."""

    def __init__(
        self,
        *,
        policy: AddressPolicy = AddressPolicy(),  # noqa: B008 - frozen
        body_limit: int = 8 * MEBIBYTE,
        connect_timeout: timedelta = timedelta(seconds=10),
        ca_file: str | None = None,
    ) -> None:
        self._policy = policy
        self._body_limit = body_limit
        self._connect_timeout = connect_timeout
        self._ca_file = ca_file
        self._local = threading.local()
        self._handles: set[_Handle] = set()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout: timedelta,
    ) -> Response:
        """Send one request; raises `TransportError` with a `code` when no whole answer came in time and size."""
        if not url.isprintable():
            raise TransportError("The URL has characters a URL cannot have.", "invalid_url")
        place = _place(url.partition("?")[0])
        lines = _header_lines(headers)
        return self._handle().perform(method, url, place, lines, body, timeout)

    def close(self) -> None:
        """Close idle connections at once and those in use when their answer is there; safe to call twice."""
        self._local = threading.local()

    def _handle(self) -> _Handle:
        tenancy: _Tenancy | None = getattr(self._local, "tenancy", None)
        if tenancy is None or tenancy.pid != os.getpid():
            tenancy = self._local.tenancy = _Tenancy(self._new_handle(), self._handles)
        return tenancy.handle

    def _new_handle(self) -> _Handle:
        exchange = _Exchange(self._policy, self._body_limit)
        return _Handle(exchange, self._connect_timeout, self._ca_file)


class _Tenancy:
    """Lives in a thread's local storage, so it ends with the thread, and its handle with it.

    A fork ends the other threads' storage too; the handles then live on in `handles`.
    """

    def __init__(self, handle: _Handle, handles: set[_Handle]) -> None:
        self.pid = os.getpid()
        self.handle = handle
        self._handles = handles
        handles.add(handle)

    def __del__(self) -> None:
        if self.pid == os.getpid():
            self._handles.discard(self.handle)


class _LentSocket(socket.socket):
    """pycurl copies the descriptor of the socket it gets and drops the object, which is no leak to warn of."""

    def __del__(self) -> None:
        if self.fileno() >= 0:  # not so when there was no descriptor to be had
            self.close()


class _Exchange:
    """What libcurl reports about the request under way.  It must not know its handle: cycles outlive their thread."""

    def __init__(self, policy: AddressPolicy, body_limit: int) -> None:
        self._policy = policy
        self._body_limit = body_limit
        self.header_lines: list[bytes] = []
        self.begin()

    def begin(self) -> None:
        """Forget the request before."""
        self._sent_at: float | None = None
        self._opened = False
        self._body_size = 0
        self.chunks: list[bytes] = []
        self.header_lines.clear()
        #: Set when we, not the other side, ended the request: (code, what happened).
        self.refusal: tuple[str, str] | None = None

    def open_socket(self, purpose: int, address: Any) -> socket.socket | int:
        """Make the socket for an address the policy allows."""
        if self._sent_at is not None and monotonic() - self._sent_at > REPEAT_WITHIN.total_seconds():
            self.refusal = ("closed_without_answer", "the connection was closed before an answer came")
            return int(pycurl.SOCKET_BAD)
        family, kind, protocol, location = address
        host = location[0].decode() if isinstance(location[0], bytes) else location[0]
        if (reason := self._policy.refusal(host)) is not None:
            if not self._opened:
                self.refusal = ("blocked_address", f"{host} is a {reason} address and not allowed here")
            return int(pycurl.SOCKET_BAD)
        try:
            lent = _LentSocket(family, kind, protocol)
        except OSError as error:
            self.refusal = ("unreachable", f"no socket could be made ({error.strerror})")
            return int(pycurl.SOCKET_BAD)
        self.refusal = None
        self._opened = True
        return lent

    def about_to_send(self, *_connection: object) -> int:
        """Note when the request goes out."""
        self._sent_at = monotonic()
        return int(pycurl.PREREQFUNC_OK)

    def take_body(self, chunk: bytes) -> int | None:
        """Take a piece of the body."""
        self._body_size += len(chunk)
        if self._body_size > self._body_limit:
            self.refusal = ("response_too_large", f"the answer exceeds the limit of {self._body_limit} bytes")
            return -1
        self.chunks.append(chunk)
        return None

    def headers(self) -> dict[str, str]:
        """Read the headers but not those of interim answers and trailers; what comes twice is joined by commas."""
        found: dict[str, str] = {}
        over = False
        for line in self.header_lines:
            if line.startswith(b"HTTP/"):
                found, over = {}, False
            elif line in _BLANK:
                over = True
            elif not over:
                name, _, value = line.decode("latin-1").partition(":")
                name, value = name.strip().lower(), value.strip()
                found[name] = f"{found[name]}, {value}" if name in found else value
        return found


class _Handle:
    """One libcurl handle with its connections, for one thread of one process."""

    def __init__(self, exchange: _Exchange, connect_timeout: timedelta, ca_file: str | None) -> None:
        self._exchange = exchange
        self._connect_timeout = connect_timeout
        self._curl = pycurl.Curl()
        self._limit_to_http()
        self._trust(ca_file)
        self._report_to(exchange)

    def perform(
        self, method: str, url: str, place: str, headers: list[bytes], body: bytes, timeout: timedelta
    ) -> Response:
        """Send one request and wait for its answer."""
        curl, exchange = self._curl, self._exchange
        connect_timeout = min(self._connect_timeout, timeout)
        curl.setopt(pycurl.URL, url.encode())
        curl.setopt(pycurl.HTTPHEADER, headers)
        curl.setopt(pycurl.TIMEOUT_MS, _milliseconds(timeout))
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, _milliseconds(connect_timeout))
        self._set_method(method, body)
        exchange.begin()
        try:
            curl.perform()
            return Response(curl.getinfo(pycurl.RESPONSE_CODE), exchange.headers(), b"".join(exchange.chunks))
        except pycurl.error as error:
            code, happened = exchange.refusal or explain(curl, error, timeout, connect_timeout)
            raise TransportError(f"No answer from {place}: {happened}.", code) from None
        finally:
            exchange.chunks = []

    def _set_method(self, method: str, body: bytes) -> None:
        curl = self._curl
        curl.setopt(pycurl.NOBODY, 0)
        if body or method in _WITH_BODY:
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDS, body)
        elif method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        else:
            curl.setopt(pycurl.HTTPGET, 1)
        curl.setopt(pycurl.CUSTOMREQUEST, method)

    def _limit_to_http(self) -> None:
        curl = self._curl
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        # A proxy named in the environment would be what the address policy sees in place of the app.
        curl.setopt(pycurl.PROXY, "")
        curl.setopt(pycurl.USERAGENT, f"orchestrator/{__version__}")
        curl.setopt(pycurl.BUFFERSIZE, 128 * 1024)
        # A call may be silent for hours: without probes a vanished host would be noticed only by the total timeout.
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)
        curl.setopt(pycurl.TCP_KEEPIDLE, 60)
        curl.setopt(pycurl.TCP_KEEPINTVL, 15)

    def _trust(self, ca_file: str | None) -> None:
        # The wheel brings a libcurl that knows no certificates of the system, so it takes those Python uses.
        system = ssl.get_default_verify_paths()
        self._curl.setopt(pycurl.SSL_VERIFYPEER, 1)
        self._curl.setopt(pycurl.SSL_VERIFYHOST, 2)
        if file := ca_file or system.cafile:
            self._curl.setopt(pycurl.CAINFO, file)
        if not ca_file and system.capath:
            self._curl.setopt(pycurl.CAPATH, system.capath)

    def _report_to(self, exchange: _Exchange) -> None:
        self._curl.setopt(pycurl.OPENSOCKETFUNCTION, exchange.open_socket)
        self._curl.setopt(pycurl.PREREQFUNCTION, exchange.about_to_send)
        # No Python code for each header line: each would wait for the interpreter lock.  libcurl ends 300 KB of them.
        self._curl.setopt(pycurl.HEADERFUNCTION, exchange.header_lines.append)
        self._curl.setopt(pycurl.WRITEFUNCTION, exchange.take_body)


@lru_cache(maxsize=1024)
def _place(address: str) -> str:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise TransportError(f"The URL cannot be read: {error}.", "invalid_url") from None
    if parts.scheme not in ("http", "https"):
        raise TransportError(f"Only http and https can be called, not {parts.scheme!r}.", "unsupported_protocol")
    if not host:
        raise TransportError("The URL cannot be read: it names no host.", "invalid_url")
    return f"{f'[{host}]' if ':' in host else host}:{port or (443 if parts.scheme == 'https' else 80)}"


def _header_lines(headers: Mapping[str, str]) -> list[bytes]:
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers.items()]
    if not "".join(lines).isprintable():
        raise TransportError("A header of the request has characters a header cannot have.", "invalid_header")
    # What libcurl would add on its own account is switched off: Expect costs a second with servers that ignore it.
    lines.append("Expect:")
    if not any(name.lower() == "content-type" for name in headers):
        lines.append("Content-Type:")
    return [line.encode() for line in lines]


def _milliseconds(span: timedelta) -> int:
    return max(1, int(span.total_seconds() * 1000))
