"""Liveness and readiness, told to everybody: whoever restarts processes or sends requests to them has no key.

`/health` says that the process answers, and asks nobody.  `/ready` says that it can take events: the database answers
and has the tables this version needs.  A broker that is away is told of and changes nothing, for it carries hints only.

Both are answered on the loop, so that they are told also while every thread waits for a database that hangs.  There is
one look at the database at a time, by a thread of its own; whoever asks meanwhile gets its outcome, and what was seen
is good for a second: strangers cannot make the database busy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from orchestrator import log
from orchestrator.api.cors import cors_headers
from orchestrator.api.wsgi_call import Headers
from orchestrator.engine.parts import Parts
from orchestrator.queue.announce import broker_state
from orchestrator.store import schema

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from orchestrator.api.server import Application

_log = log.get(__name__)

HEALTH_PATH, READY_PATH = "/health", "/ready"
#: Seconds that the database may take.
PATIENCE = 2.0
#: Seconds that an outcome is good for.
FRESH = 1.0
_OK = "200 OK"
_UNAVAILABLE = "503 Service Unavailable"

#: Gets the sentence of what is wrong with the database, or None.
Told = Callable[[str | None], None]


@dataclass(slots=True)
class _Look:
    """One look at the database, and who waits for its outcome."""

    waiting: list[Told] = field(default_factory=list)
    late: bool = False
    timer: threading.Timer | None = None


class Readiness:
    """Looks whether this process can take events, for at most `patience` seconds."""

    def __init__(self, parts: Parts, patience: float = PATIENCE) -> None:
        self._parts = parts
        self._patience = patience
        self._lock = threading.Lock()
        self._look: _Look | None = None
        self._seen: tuple[float, str | None] = (-FRESH, None)

    def ask(self, tell: Told) -> None:
        """Have `tell` called once, from any thread and perhaps at once, when it is known or the patience is over."""
        with self._lock:
            at, sentence = self._seen
            if time.monotonic() - at >= FRESH:
                look = self._look or self._begin()
                if not look.late:
                    look.waiting.append(tell)
                    return
                sentence = self._late
        tell(sentence)

    def wait(self) -> str | None:
        """The same for a thread that can wait."""
        outcome: list[str | None] = []
        told = threading.Event()

        def tell(sentence: str | None) -> None:
            outcome.append(sentence)
            told.set()

        self.ask(tell)
        told.wait()
        return outcome[0]

    def body(self, sentence: str | None) -> bytes:
        """The answer that says so."""
        return orjson.dumps(
            {
                "status": 503 if sentence else 200,
                "message": sentence or "ready",
                "broker": broker_state(self._parts.announcer).value,
            }
        )

    @property
    def _late(self) -> str:
        return f"the database does not answer within {self._patience:g} s"

    def _begin(self) -> _Look:
        """Begin to look; the lock is held."""
        look = self._look = _Look()
        threading.Thread(target=self._see, args=(look,), name="ready", daemon=True).start()
        timer = threading.Timer(self._patience, self._lose_patience, (look,))
        timer.daemon = True
        timer.start()
        look.timer = timer
        return look

    def _see(self, look: _Look) -> None:
        sentence = self._complaint()
        with self._lock:
            self._seen, self._look = (time.monotonic(), sentence), None
            waiting, look.waiting = look.waiting, []
            if look.timer is not None:
                look.timer.cancel()
        for tell in waiting:
            tell(sentence)

    def _lose_patience(self, look: _Look) -> None:
        """From now on, and until the look ends after all, the answer is known."""
        with self._lock:
            look.late = True
            waiting, look.waiting = look.waiting, []
        for tell in waiting:
            tell(self._late)

    def _complaint(self) -> str | None:
        try:
            with self._parts.database.read() as conn:
                at = schema.read(conn)
        except Exception as error:  # whatever a driver raises; its words may name hosts and people
            _log.warning("not ready", error=f"{type(error).__name__}: {error}")
            return "the database does not answer as it should"
        return schema.complaint(at)


class Vital:
    """An application behind the answers to those two questions."""

    def __init__(self, app: Application, readiness: Readiness, server_kind: str) -> None:
        self._app = app
        self._readiness = readiness
        self._headers: Headers = [
            ("Content-Type", "application/json"),
            *cors_headers(),
            ("X-Inngest-Server-Kind", server_kind),
        ]
        #: The most bytes of a request's body that are read.
        self.most_body = app.most_body

    def stop_waiting(self) -> None:
        """Hand it on."""
        self._app.stop_waiting()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Hand on what needs a thread."""
        return self._app(environ, start_response)

    def answer_soon(self, environ: WSGIEnvironment, answer: Callable[[str, Headers, bytes], None]) -> bool:
        """Answer those questions; let the application behind answer others."""
        path: str = environ.get("PATH_INFO", "")
        if path not in (HEALTH_PATH, READY_PATH) or environ["REQUEST_METHOD"] != "GET":
            return self._app.answer_soon(environ, answer)

        def tell(status: str, body: bytes) -> None:
            answer(status, [*self._headers, ("Content-Length", str(len(body)))], body)

        if path == HEALTH_PATH:
            tell(_OK, orjson.dumps({"status": 200, "message": "OK"}))
        else:
            readiness = self._readiness
            readiness.ask(lambda sentence: tell(_UNAVAILABLE if sentence else _OK, readiness.body(sentence)))
        return True
