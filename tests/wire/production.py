"""A production server in this process, and apps on the official SDK in production mode."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flask
import inngest

from orchestrator.api.server import Application
from orchestrator.api.wsgi_call import Headers
from orchestrator.cli.embedded import EmbeddedServer
from orchestrator.engine.sync import sync_url
from tests.wire.harness import DEADLINE, App, Embedded, Keys, ShiftedClock, configured

KEY = "signkey-prod-" + "5e" * 32
OTHER_KEY = "signkey-prod-" + "0f" * 32
EVENT_KEY, OTHER_EVENT_KEY = "ek-" + "a7" * 16, "ek-" + "b8" * 16
#: Where the apps of these tests live.
HERE = "127.0.0.0/8,::1"


class Recording:
    """An application that keeps a copy of all it answers."""

    def __init__(self, inner: Application, answers: list[str]) -> None:
        self._inner = inner
        self._answers = answers
        self.most_body = inner.most_body

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            self._answers.append(f"{status} {headers}")
            return start_response(status, headers, *rest)

        answer = self._inner(environ, start)
        body = b"".join(answer)
        getattr(answer, "close", lambda: None)()
        self._answers.append(body.decode(errors="replace"))
        return [body]

    def stop_waiting(self) -> None:
        self._inner.stop_waiting()

    def answer_soon(self, environ: dict[str, Any], answer: Callable[[str, Headers, bytes], None]) -> bool:
        def recorded(status: str, headers: Headers, body: bytes) -> None:
            self._answers.append(f"{status} {headers} {body.decode(errors='replace')}")
            answer(status, headers, body)

        return self._inner.answer_soon(environ, recorded)


class Recorded(EmbeddedServer):
    """A server that keeps a copy of all it answers."""

    def _application(self) -> Application:
        self.answers: list[str] = []
        return Recording(super()._application(), self.answers)


class ProductionServer(Embedded):
    """`orchestrator start` on a free port, its state in a directory."""

    def __init__(self, state: Path, **flags: object) -> None:
        defaults = {
            "mode": "start",
            "host": "127.0.0.1",
            "state_dir": state,
            "signing_key": KEY,
            "event_keys": (OTHER_EVENT_KEY, EVENT_KEY),
            "allowed_networks": HERE,
            "grace": "0",
        }
        self.clock = ShiftedClock()
        self.embedded: Recorded = Recorded(configured(**(defaults | flags)), clock=self.clock)
        self.embedded.start()
        self.url = f"http://127.0.0.1:{self.embedded.port}"
        self.keys = Keys(EVENT_KEY, str(self.embedded.config.signing_key))

    def ask(self, method: str, path: str, authorization: str | None, body: object = None) -> tuple[int, Any]:
        """Send a request with this Authorization; returns status and decoded JSON."""
        headers = {"Content-Type": "application/json"}
        if authorization is not None:
            headers["Authorization"] = authorization
        data = json.dumps(body).encode() if body is not None else None
        asked = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=DEADLINE) as answer:
                text, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            with error:
                text, status = error.read(), error.code
        return status, json.loads(text) if text else None

    def sync(self, url: str) -> None:
        """Ask the app at this URL to declare itself, as the poller does."""
        sync_url(self.embedded.parts, url)

    def app(self) -> dict[str, Any]:
        """The one app it knows."""
        [found] = self.request("GET", "/v1/apps")[1]["data"]
        return dict(found)

    def failed_attempts(self, run_id: str) -> int:
        return [it["kind"] for it in self.run(run_id)["history"]].count("attempt failed")


@dataclass
class ProductionApp(App):
    """An app whose SDK signs, checks signatures, and authenticates itself."""

    #: What the web server in front of the SDK does with a request (its WSGI environment) first.
    meddle: Callable[[dict[str, Any]], object] | None = None
    served: bool = field(default=False, init=False)

    def serve(self, functions: Sequence[inngest.Function[Any]], *, sync: bool = False) -> None:
        """Serve the functions; nobody is told."""
        super().serve(functions, sync=sync)
        self.served = True

    def stop(self) -> None:
        if self.served:
            super().stop()

    def _note(self) -> None:
        super()._note()
        if self.meddle is not None:
            self.meddle(flask.request.environ)
