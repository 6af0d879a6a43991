"""An event API for tests: the application as it is, over a store that can fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from orchestrator.api.ingest import IngestApp
from orchestrator.clock import SettableClock
from orchestrator.core.event import Event
from orchestrator.errors import RequestError, UnauthorizedError
from orchestrator.protocol.events import EventLimits

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
