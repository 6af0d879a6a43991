"""Signals.  The Python SDK has none: over HTTP a tiny app answers with the ops that the TypeScript SDK would send."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import flask
import pytest
from werkzeug.serving import make_server

from tests.wire.harness import Embedded, Server, request
from tests.wire.inprocess import IN_PROCESS, LocalApp

pytestmark = pytest.mark.every_driver

_numbers = itertools.count(1)
HEADERS = {"x-inngest-sdk": "js:v4.0.0", "x-inngest-req-version": "2", "content-type": "application/json"}


class Listening:
    """An app with one function, which waits for the signal that its event names and returns what it got."""

    def __init__(self, server: Server, name: str) -> None:
        self.name = name
        web = flask.Flask(name)
        web.add_url_rule("/api", view_func=self._call, methods=["POST"])
        self._http = make_server("127.0.0.1", 0, web, threaded=True)
        self.url = f"http://127.0.0.1:{self._http.port}/api"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._register(server)

    def stop(self) -> None:
        self._http.shutdown()

    def _register(self, server: Server) -> None:
        step = {"id": "step", "name": "step", "runtime": {"type": "http", "url": f"{self.url}?fnId=wait&stepId=step"}}
        function = {
            "id": f"{self.name}-wait",
            "name": "wait",
            "triggers": [{"event": f"{self.name}/start"}],
            "steps": {"step": step},
        }
        body = {"url": self.url, "appName": self.name, "functions": [function], "sdk": "js:v4.0.0"}
        status, answer = server.request("POST", "/fn/register", body)
        assert 200 == status, answer

    def _call(self) -> flask.Response:
        body = flask.request.get_json()
        step_id = hashlib.sha1(b"sig").hexdigest()
        if step_id in body["steps"]:
            memo = body["steps"][step_id]
            return flask.Response(json.dumps(memo["data"] if memo else "nothing came"), 200, HEADERS)
        options = {"timeout": "1h"} | body["event"]["data"]
        op = {"op": "WaitForSignal", "id": step_id, "name": options["signal"], "displayName": "sig", "opts": options}
        return flask.Response(json.dumps([op]), 206, HEADERS)


class ListeningHere:
    """The same in process."""

    def __init__(self, server: Server, name: str, *, awaited: bool) -> None:
        assert isinstance(server, Embedded)
        self.name = name
        self._app = LocalApp(server.embedded, name, awaited=awaited)

        @self._app.function("wait", f"{name}/start")
        def wait(ctx: Any) -> object:
            options = ctx.event.data
            replace = options.get("conflict") == "replace"
            heard = ctx.step.wait_for_signal("sig", options["signal"], "1h", replace=replace)
            return "nothing came" if heard is None else {"signal": options["signal"], "data": heard}

        self._app.serve([wait])

    def stop(self) -> None:
        self._app.stop()


@pytest.fixture
def waiter(server: Server, driver: str) -> Iterator[Callable[..., str]]:
    """Starts runs that wait for a signal; gives their ids."""
    if server.keys is not None:
        pytest.skip("this tiny app knows no keys")
    name = f"signalled{next(_numbers)}"
    over_http = driver not in IN_PROCESS
    app = Listening(server, name) if over_http else ListeningHere(server, name, awaited=driver == "awaited")

    def start(signal: str, *, waits: bool = True, **options: object) -> str:
        [run] = server.runs_of(server.send(f"{app.name}/start", {"signal": signal} | options))
        if waits:
            server.step(run["run_id"], "sig", "Waiting")
        return run["run_id"]

    yield start
    app.stop()


def signal(server: Server, name: str, data: object) -> tuple[int, Any]:
    return request("POST", f"{server.url}/v1/signals", {"signal": name, "data": data})


def test_a_signal_resumes_the_run_that_waits_for_it_with_its_data(server: Server, waiter: Callable[..., str]):
    run_id, other = waiter("sig/one"), waiter("sig/two")

    status, answer = signal(server, "sig/one", {"n": [1, "zwei"]})

    assert (200, {"run_id": run_id}) == (status, answer["data"])
    assert {"signal": "sig/one", "data": {"n": [1, "zwei"]}} == server.run_ended(run_id)["output"]
    assert "Running" == server.run(other)["status"]


def test_a_signal_that_nobody_waits_for_is_refused_and_not_kept(server: Server, waiter: Callable[..., str]):
    status, answer = signal(server, "sig/early", 1)
    waiter("sig/early")

    assert (404, "No signal found", None) == (status, answer["error"], answer["data"])


def test_the_second_run_that_waits_for_a_signal_fails_unless_it_wants_to_replace(
    server: Server, waiter: Callable[..., str]
):
    first = waiter("sig/one")
    second = server.run_ended(waiter("sig/one", waits=False))
    third = waiter("sig/one", conflict="replace")

    signal(server, "sig/one", 3)

    assert "Signal conflict; signal wait already exists for another run" == second["output"]["message"]
    assert ("Failed", {"signal": "sig/one", "data": 3}) == (second["status"], server.run_ended(third)["output"])
    assert "Running" == server.run(first)["status"]
    server.skip(timedelta(hours=1, seconds=1))
    assert "nothing came" == server.run_ended(first)["output"]


def test_a_signal_can_be_waited_for_again_once_it_came(server: Server, waiter: Callable[..., str]):
    for n in range(2):
        run_id = waiter("sig/again")
        signal(server, "sig/again", n)
        assert {"signal": "sig/again", "data": n} == server.run_ended(run_id)["output"]
    assert 404 == signal(server, "sig/again", 2)[0]


def test_a_signal_that_carries_too_much_is_refused_and_the_wait_goes_on(server: Server, waiter: Callable[..., str]):
    run_id = waiter("sig/large")

    status, answer = signal(server, "sig/large", "x" * (4 * 1024 * 1024))
    signal(server, "sig/large", 1)

    assert (413, True) == (status, "the limit is 4194304 bytes (4 MiB)" in answer["error"])
    assert {"signal": "sig/large", "data": 1} == server.run_ended(run_id)["output"]


def test_a_signal_without_a_name_is_refused(server: Server):
    status, answer = server.request("POST", "/v1/signals", {"data": 1})

    assert (400, True) == (status, "signal" in answer["error"])
