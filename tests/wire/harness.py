"""The official Python SDK and our server, in one process, talking over real HTTP."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import flask
import inngest
import inngest.flask
from werkzeug.serving import make_server

from orchestrator.cli.embedded import EmbeddedServer
from orchestrator.config import Config, load

#: Nothing here may take longer than this; what does is a failure, not a slow test.
DEADLINE = 45.0

T = TypeVar("T")


class ShiftedClock:
    """The system's clock, moved forward by what tests skip."""

    def __init__(self) -> None:
        self._skipped = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._skipped

    @property
    def skipped(self) -> timedelta:
        """How far it was moved."""
        return self._skipped

    def skip(self, span: timedelta) -> None:
        self._skipped += span


def configured(**flags: object) -> Config:
    """The configuration of a quiet development server on a free port."""
    quiet = {"mode": "dev", "port": 0, "discovery": False, "poll": False}
    return load({}, quiet | flags)


@dataclass(frozen=True)
class Keys:
    """What proves who one is, in production."""

    event: str = "event-key"
    signing: str = "signkey-prod-0123456789abcdef"


class Server:
    """A running server, however it runs; the tests say what they want of it here."""

    url: str
    clock: ShiftedClock
    keys: Keys | None = None

    def stop(self) -> None:
        """End it."""

    def log(self) -> str:
        """The end of what it said."""
        return ""

    def send(self, name: str, data: object = None, **fields: object) -> str:
        """Send one event; returns its id."""
        status, answer = self.request(
            "POST", f"/e/{self.keys.event if self.keys else 'test'}", {"name": name, "data": data or {}} | fields
        )
        assert 200 == status, answer
        return answer["ids"][0]

    def send_all(self, name: str, data: Sequence[object]) -> list[str]:
        """Send events in one request, so that they come at once; returns their ids."""
        events = [{"name": name, "data": it} for it in data]
        status, answer = self.request("POST", f"/e/{self.keys.event if self.keys else 'test'}", events)
        assert 200 == status, answer
        return list(answer["ids"])

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        return request(method, self.url + path, body, bearer=self.keys.signing if self.keys else None)

    def runs_of(self, event_id: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until the event has started `count` runs."""

        def look() -> list[dict[str, Any]] | None:
            found = self.request("GET", f"/v1/events/{event_id}/runs")[1]["data"]
            return found if len(found) >= count else None

        return until(look, f"{count} runs of event {event_id}")

    def run(self, run_id: str) -> dict[str, Any]:
        return self.request("GET", f"/v1/runs/{run_id}")[1]["data"]

    def ended(self, event_id: str) -> dict[str, Any]:
        """Wait until the one run of the event has ended; returns it."""
        [run] = self.runs_of(event_id)
        return self.run_ended(run["run_id"])

    def run_ended(self, run_id: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            run = self.run(run_id)
            return run if run["status"] in ("Completed", "Failed", "Cancelled") else None

        return until(look, f"the end of run {run_id}", lambda: json.dumps(self.run(run_id), indent=1))

    def step(self, run_id: str, name: str, status: str) -> dict[str, Any]:
        """Wait until the run's step of this name has this status."""

        def look() -> dict[str, Any] | None:
            steps = [step for step in self.run(run_id)["steps"] if step["name"] == name]
            return next((step for step in steps if step["status"] == status), None)

        return until(look, f"step {name} {status}", lambda: json.dumps(self.run(run_id), indent=1))

    def failed(self, run_id: str, attempts: int) -> None:
        """Wait until so many attempts of the run have failed and the next is planned."""

        def look() -> bool:
            return [it["kind"] for it in self.run(run_id)["history"]].count("attempt failed") >= attempts

        until(look, f"{attempts} failed attempts", lambda: json.dumps(self.run(run_id), indent=1))

    def skip(self, span: timedelta) -> None:
        """Let time pass."""
        self.clock.skip(span)


class Embedded(Server):
    """Our server in this process."""

    def __init__(self, **flags: object) -> None:
        self.clock = ShiftedClock()
        self.embedded = EmbeddedServer(configured(**flags), clock=self.clock)
        self.embedded.start()
        self.url = f"http://127.0.0.1:{self.embedded.port}"

    def stop(self) -> None:
        self.embedded.stop()


@dataclass
class Request:
    """One request that the app got."""

    method: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class App:
    """A Flask app on the official SDK; it notes what it was asked."""

    server_url: str
    app_id: str
    keys: Keys | None = None
    client: inngest.Inngest = field(init=False)
    requests: list[Request] = field(default_factory=list)
    #: Called with the body of each call before the SDK gets it.
    on_call: Callable[[Any], None] | None = None
    url: str = ""
    #: Where it listens.
    host: str = "127.0.0.1"
    port: int = field(default=0, init=False)
    _web: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.client = inngest.Inngest(
            app_id=self.app_id,
            api_base_url=self.server_url,
            event_api_base_url=self.server_url,
            is_production=self.keys is not None,
            event_key=self.keys.event if self.keys else "test",
            signing_key=self.keys.signing if self.keys else None,
        )

    def function(self, fn_id: str, event: str, **options: Any) -> Callable[[Any], inngest.Function[Any]]:
        """Declare a function on one event."""
        expression = options.pop("expression", None)
        return self.create(fn_id, inngest.TriggerEvent(event=event, expression=expression), **options)

    def create(self, fn_id: str, trigger: Any, **options: Any) -> Callable[[Any], inngest.Function[Any]]:
        """Declare a function."""
        return self.client.create_function(fn_id=fn_id, trigger=trigger, **options)

    def serve(self, functions: Sequence[inngest.Function[Any]], *, sync: bool = True) -> None:
        """Serve the functions, and register them."""
        self._web = self._made(functions)
        self.come_back()
        self.url = f"http://127.0.0.1:{self.port}/api/inngest"
        if sync:
            status, answer = request("PUT", self.url, {})
            assert 200 == status, answer
            assert "error" not in answer, answer

    def again(self) -> App:
        """A later version of the app, to be served at another place."""
        return type(self)(self.server_url, self.app_id, self.keys)

    def another(self, app_id: str) -> App:
        """One more app on the same server."""
        return type(self)(self.server_url, app_id, self.keys)

    def either(self, over_http: object, in_process: object) -> object:
        """What differs between the drivers: here each step is a call."""
        return over_http

    def calls(self, run_id: str) -> list[Request]:
        """The calls the app got for a run."""
        return [it for it in self.requests if it.method == "POST" and it.body["ctx"]["run_id"] == run_id]

    def come_back(self) -> None:
        """Listen, where it listened before if it did."""
        self._http = make_server(self.host, self.port, self._web, threaded=True)
        self.port = self._http.port
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def go_down(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()

    def stop(self) -> None:
        self.go_down()

    def _made(self, functions: Sequence[inngest.Function[Any]]) -> Any:
        web = flask.Flask(self.app_id)
        web.before_request(self._note)
        inngest.flask.serve(web, self.client, list(functions))
        return web

    def _note(self) -> None:
        asked = flask.request
        self._keep(Request(asked.method, dict(asked.args), dict(asked.headers), asked.get_json(silent=True)))

    def _keep(self, asked: Request) -> None:
        if asked.method == "POST" and self.on_call is not None:
            self.on_call(asked.body)
        self.requests.append(asked)


def request(method: str, url: str, body: object = None, bearer: str | None = None) -> tuple[int, Any]:
    """Send JSON, get status and decoded JSON (None: an empty answer)."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json"}
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer}"
    asked = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=DEADLINE) as answer:
            text, status = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        text, status = error.read(), error.code
    return status, json.loads(text) if text else None


def until(
    look: Callable[[], T | None], what: str, show: Callable[[], str] = lambda: "", deadline: float = DEADLINE
) -> T:
    """Look again and again until there is something, or `deadline` seconds have passed."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"waited {deadline:g} s in vain for {what} {show()}")


def until_attempts(seen: list[object], count: int) -> None:
    until(lambda: len(seen) >= count, f"{count} of {seen}")
