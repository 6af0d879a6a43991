"""The event API as a bare WSGI callable in front of the Flask app: routing alone would cost more than taking an event.

It answers `/e/` and `/e/{key}` and hands every other path on.  An answer of 200 is given only after `accept` returned,
so what `accept` promises (committed in the database) is what the sender is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

from orchestrator import ids, log
from orchestrator.api import outage
from orchestrator.api.body import read_body, read_form
from orchestrator.api.cors import cors_headers
from orchestrator.api.wsgi_call import Headers
from orchestrator.clock import Clock
from orchestrator.core.event import Event
from orchestrator.errors import RequestError, UnauthorizedError
from orchestrator.protocol.events import EventLimits, Parsed, form_event, parse_events, seeded_ids

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_log = log.get(__name__)

#: Stores events, and calls back with their ids or with what went wrong.
AcceptSoon = Callable[[Sequence[Event], Callable[[list[str] | BaseException], None]], None]

_PREFIX = "/e/"
_METHODS = "POST, OPTIONS"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
#: Requests of fewer than 100 000 bytes are quickly read.
_QUICK_DIGITS = 5
_FAILED = "The events could not be stored; send them again"
_AWAY = "The events could not be stored, for the database cannot be used at this moment; send them again"


class IngestApp:
    """Takes events in: `authorize` raises for a key that may not send, `accept` stores events and returns their ids.

    `accept_soon` does the same without waiting; `pass_at_once` tells of keys that may send without their being looked
    for (None: all are known).
    """

    def __init__(
        self,
        next_app: WSGIApplication,
        accept: Callable[[Sequence[Event]], list[str]],
        authorize: Callable[[str], None],
        *,
        accept_soon: AcceptSoon | None = None,
        pass_at_once: Callable[[str], bool] | None = None,
        clock: Clock,
        limits: EventLimits,
        server_kind: str,
    ) -> None:
        self._next_app = next_app
        self._accept = accept
        self._accept_soon = accept_soon
        self._authorize = authorize
        self._pass_at_once = pass_at_once
        self._clock = clock
        self._limits = limits
        self._shared = [*cors_headers(), ("X-Inngest-Server-Kind", server_kind)]

    @property
    def most_body(self) -> int:
        """The most bytes of a request's body that are read."""
        return self._limits.request_bytes

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request for the event API; pass any other on untouched."""
        key = _key_in(environ)
        if key is None:
            return self._next_app(environ, start_response)
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            start_response("204 No Content", list(self._shared))
            return []
        if method == "POST":
            status, headers, body = self._answer(*self._take(environ, key))
        else:
            refusal = _refusal(405, f"Events are sent by POST, not {method}", [])
            status, headers, body = self._answer(*refusal, ("Allow", _METHODS))
        start_response(status, headers)
        return [] if method == "HEAD" else [body]

    def answer_soon(self, environ: WSGIEnvironment, answer: Callable[[str, Headers, bytes], None]) -> bool:
        """Have `answer` called with the answer to a small request with events in it, perhaps by another thread.

        False: the request is of another kind, or may take long to read, and is one for a thread to call the app with.
        """
        key = _key_in(environ)
        accept_soon = self._accept_soon
        if key is None or accept_soon is None or not _is_quick(environ):
            return False
        if self._pass_at_once is not None and not self._pass_at_once(_text(key)):
            return False
        try:
            self._check(key)
            parsed = self._parsed(environ)
        except Exception as error:
            answer(*self._answer(*_failure(error)))
            return True

        def accepted(outcome: list[str] | BaseException) -> None:
            told = _failure(outcome) if isinstance(outcome, BaseException) else _told(parsed, outcome)
            answer(*self._answer(*told))

        if parsed.events:
            accept_soon(parsed.events, accepted)
        else:
            accepted([])
        return True

    def stop_waiting(self) -> None:
        """Nobody waits here but for a commit, which comes."""

    def _answer(self, status: int, body: bytes, *more: tuple[str, str]) -> tuple[str, list[tuple[str, str]], bytes]:
        length = ("Content-Length", str(len(body)))
        if status == outage.STATUS:
            more = (*more, outage.RETRY_AFTER)
        return _status_line(status), [("Content-Type", "application/json"), length, *more, *self._shared], body

    def _take(self, environ: WSGIEnvironment, key: str) -> tuple[int, bytes]:
        """The status and body of the answer to a request with events in it; never raises."""
        try:
            self._check(key)
            parsed = self._parsed(environ)
            return _told(parsed, self._accept(parsed.events) if parsed.events else [])
        except Exception as error:
            return _failure(error)

    def _check(self, key: str) -> None:
        if not key:
            raise UnauthorizedError("Event key is required")
        self._authorize(_text(key))

    def _parsed(self, environ: WSGIEnvironment) -> Parsed:
        limits = self._limits
        body = read_body(environ, limits.request_bytes)
        content_type: str = environ.get("CONTENT_TYPE", "")
        # Command line clients call any body a form; a real one never begins with a bracket.
        if content_type.strip().lower().startswith(_FORMS) and not body.startswith((b"{", b"[")):
            body = form_event(read_form(body, content_type, limits.event_bytes))
        id_at = seeded_ids(environ.get("HTTP_X_INNGEST_EVENT_ID_SEED")) or _fresh_id
        return parse_events(body, id_at=id_at, now=self._clock.now(), limits=limits)


def _key_in(environ: WSGIEnvironment) -> str | None:
    """The event key in the path; None where the path is not of the event API."""
    path: str = environ.get("PATH_INFO", "")
    if not path.startswith(_PREFIX) or "/" in path[len(_PREFIX) :]:
        return None
    return path[len(_PREFIX) :]


def _text(key: str) -> str:
    """The key as its sender wrote it: WSGI hands the decoded bytes of a path over as if they were latin-1."""
    return key if key.isascii() else key.encode("latin-1", "replace").decode("utf-8", "replace")


def _is_quick(environ: WSGIEnvironment) -> bool:
    """Whether a request takes less time to read than to hand it to a thread."""
    declared: str = environ.get("CONTENT_LENGTH", "")
    return (
        environ["REQUEST_METHOD"] == "POST"
        and declared.isdecimal()
        and len(declared) <= _QUICK_DIGITS
        and "HTTP_CONTENT_ENCODING" not in environ
        and not environ.get("CONTENT_TYPE", "").lstrip().lower().startswith(_FORMS)
    )


def _told(parsed: Parsed, accepted: list[str]) -> tuple[int, bytes]:
    if parsed.error is None:
        return 200, orjson.dumps({"ids": accepted, "status": 200})
    return _refusal(parsed.error.status, parsed.error.message, accepted)


def _failure(error: BaseException) -> tuple[int, bytes]:
    if isinstance(error, RequestError):
        return _refusal(error.status, error.message, [])
    if outage.told_outage(error, "POST", _PREFIX):  # the rest of the path is a secret
        return _refusal(outage.STATUS, _AWAY, [])
    _log.error("ingest failed", exc_info=error)
    return _refusal(500, _FAILED, [])


def _fresh_id(_position: int) -> str:
    return ids.new_ulid()


def _refusal(status: int, sentence: str, accepted: list[str]) -> tuple[int, bytes]:
    return status, orjson.dumps({"ids": accepted, "status": status, "error": sentence})


def _status_line(status: int) -> str:
    return "200 OK" if status == 200 else f"{status} {HTTPStatus(status).phrase}"
