"""Durable endpoints: HTTP handlers whose runs the TypeScript SDK begins by itself, and reports to the server.

The request that came to the endpoint is the run's event.  As long as the SDK answers that request it reports what it
did; when something must be waited for it leaves the run to the server, which goes on with it by repeating the request
with the run's id in a header.  The SDK then fetches events and memos itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from orchestrator.core.message import Asked, Checkpointed, Returned, Threw
from orchestrator.errors import RequestError
from orchestrator.ids import is_ulid
from orchestrator.protocol import headers as names
from orchestrator.protocol import sync_limits as limits
from orchestrator.protocol.checkpoint import only_done
from orchestrator.protocol.function_config import ENDPOINT
from orchestrator.protocol.ops import MAX_OPS, WireOp
from orchestrator.protocol.reply import checked, parse_ops

#: The name of the event that such a run is for.
HTTP_REQUEST = "inngest/http.request"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PREFIX = f"{ENDPOINT}://"
#: In place of a signature; a real one takes its place.
_UNSIGNED = "unsigned"

_T = TypeVar("_T")

Report = Checkpointed | Asked | Returned | Threw


class _Request(msgspec.Struct, frozen=True):
    """What the SDK tells of the request; `domain` is scheme, host and port."""

    domain: str
    path: str
    method: str
    query_params: str = ""
    body: str = ""
    content_type: str = ""
    fn: str | None = None


class _Event(msgspec.Struct, frozen=True):
    name: str
    data: msgspec.Raw


class _NewRun(msgspec.Struct, frozen=True):
    run_id: str
    event: _Event
    steps: list[WireOp] | None = None
    retries: int | None = None
    request_version: int | None = None


class _Steps(msgspec.Struct, frozen=True):
    steps: list[WireOp] | None = None


class _Stored(msgspec.Struct, frozen=True):
    data: _Request


@dataclass(frozen=True, slots=True)
class Original:
    """The request that came to an endpoint."""

    method: str
    url: str
    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that an SDK has begun.  `data` is the event's, as JSON text."""

    run_id: str
    #: Host and port of the app.
    app: str
    #: The name of the endpoint within its app.
    endpoint: str
    original: Original
    data: str
    attempts: int
    request_version: int | None
    report: Report

    @property
    def slug(self) -> str:
        """The function that the endpoint is."""
        return f"{self.app}-{self.endpoint}"

    def config(self) -> str:
        """The endpoint as an app would declare it (JSON text)."""
        step = {
            "id": "step",
            "name": "step",
            "retries": {"attempts": self.attempts - 1},
            "runtime": {"type": "http", "url": app_url(self.app)},
        }
        config = {"id": self.slug, "name": self.endpoint, "triggers": [], "steps": {"step": step}}
        return json.dumps(config, sort_keys=True)


def is_endpoint(url: str) -> bool:
    """Whether what is at this URL is called by repeating the request that began its run."""
    return url.startswith(_PREFIX)


def app_url(app: str) -> str:
    """The URL of an app that is known by its endpoints alone."""
    return f"{_PREFIX}{app}"


def read_new_run(body: bytes, now: datetime) -> NewRun:
    """Read how an SDK begins a run.  Raises `RequestError`."""
    found = _decoded(body, _NewRun)
    request = _decoded(bytes(found.event.data), _Request, "event.data")
    if not is_ulid(found.run_id):
        raise RequestError("run_id must be a ULID (26 letters and digits)")
    if found.event.name != HTTP_REQUEST:
        raise RequestError(f'event.name must be "{HTTP_REQUEST}"')
    original, app = _original(request), urlsplit(request.domain).netloc.lower()
    endpoint = request.fn or f"{original.method} {request.path}"
    if len(app) + 1 + len(endpoint) > limits.MAX_NAME:
        raise RequestError(f"event.data: the names of app and endpoint have more than {limits.MAX_NAME} characters")
    if "\0" in endpoint:
        raise RequestError("event.data.fn has a zero byte in it, which no database keeps")
    retries = found.retries if found.retries is not None else limits.DEFAULT_ENDPOINT_RETRIES
    if not 0 <= retries <= limits.MAX_RETRIES:
        raise RequestError(f"retries must be a whole number from 0 to {limits.MAX_RETRIES}, got {retries}")
    return NewRun(
        found.run_id.upper(),
        app,
        endpoint,
        original,
        bytes(found.event.data).decode(),
        retries + 1,
        found.request_version,
        _report(found.steps or [], now),
    )


def read_report(body: bytes, now: datetime) -> Report:
    """Read what an SDK did for a run that it has begun.  Raises `RequestError`."""
    return _report(_decoded(body, _Steps).steps or [], now)


def original_of(event: str) -> Original:
    """The request that a run's event (wire text) tells of."""
    return _original(msgspec.json.decode(event, type=_Stored).data)


def endpoint_headers(original: Original, *, target: str | None, plan_only: bool) -> dict[str, str]:
    """Name the headers of a repeated request that are not those of any call (see `protocol.request`).

    The SDK knows a repeated request by its having a signature, even where nobody has a key to sign with.
    """
    return {
        names.CONTENT_TYPE: original.content_type,
        names.STEP_ID: target or "",
        names.FORCE_PLAN: "true" if plan_only else "false",
        names.SIGNATURE: _UNSIGNED,
    }


def _report(ops: Sequence[WireOp], now: datetime) -> Report:
    if len(ops) > MAX_OPS:
        raise RequestError(f"steps has {len(ops)} steps; the limit is {MAX_OPS}")
    done = only_done(ops, now)
    return Checkpointed(None, 0, done) if done is not None else parse_ops(ops, now)


def _original(request: _Request) -> Original:
    method, query = request.method.upper(), request.query_params
    url = f"{request.domain}{request.path}{'?' if query else ''}{query}"
    if method not in METHODS:
        raise RequestError(f"event.data.method must be one of {', '.join(METHODS)}")
    if not _is_origin(request.domain):
        raise RequestError("event.data.domain must be http:// or https:// with a host, and nothing behind it")
    if not request.path.startswith("/"):
        raise RequestError("event.data.path must start with /")
    if len(url) > limits.MAX_URL or not all("!" <= character <= "~" for character in url):
        raise RequestError(f"event.data: the URL must have at most {limits.MAX_URL} characters, all of them printable")
    return Original(method, url, request.body.encode(errors="replace"), request.content_type)


def _is_origin(domain: str) -> bool:
    try:
        parts = urlsplit(domain)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of `port`, too
        return False
    return usable and domain == f"{parts.scheme}://{parts.netloc}"


def _decoded(text: bytes, kind: type[_T], place: str = "the report") -> _T:
    try:
        # What msgspec keeps raw, and what it skips, it does not look into: bytes that are no text must not come in.
        return msgspec.json.decode(checked(text.decode()), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"{place} cannot be read: {error}") from None
