"""`step.fetch` and `step.ai.infer` of the official TypeScript SDK: the server makes the request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.wire.harness import Server, until
from tests.wire.provider import Provider, Said
from tests.wire_js.harness import NodeApp

# The first test may have to wait for the SDK to be installed.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=[False, None], ids=["plain", "checkpointing"])
def app(request: pytest.FixtureRequest, make_app: Callable[..., NodeApp]) -> NodeApp:
    return make_app(checkpointing=request.param)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider(Said(200, {"ok": True}, {"Content-Type": "application/json"}))
    yield made
    made.stop()


def fetched(server: Server, app: NodeApp, url: str, **init: object) -> dict[str, Any]:
    """The run of a function that fetches the URL once."""
    return server.ended(app.send("fetcher", {"url": url, "init": init or None}))


def test_a_fetch_gives_status_headers_and_text(server: Server, app: NodeApp, provider: Provider):
    run = fetched(server, app, f"{provider.url}/here?a=1&b=2")

    expected = {"status": 200, "type": "application/json", "text": '{"ok": true}'}
    assert ("Completed", expected) == (run["status"], run["output"])
    assert [("GET", "/here", "a=1&b=2", "")] == [(it.method, it.path, it.query, it.body) for it in provider.got]


def test_a_fetch_sends_method_headers_and_body(server: Server, app: NodeApp, provider: Provider):
    headers = {"X-Mine": "yes", "Content-Type": "text/plain", "Authorization": "Bearer it"}

    fetched(server, app, provider.url, method="PATCH", headers=headers, body="Zoë")

    [got] = provider.got
    assert ("PATCH", "Zoë") == (got.method, got.body)
    assert ("yes", "text/plain", "Bearer it") == tuple(got.headers[name.lower()] for name in headers)


@pytest.mark.parametrize("status", [204, 404, 500])
def test_any_status_is_an_answer(server: Server, app: NodeApp, provider: Provider, status: int):
    provider.say[:] = [Said(status, "")]

    run = fetched(server, app, provider.url)

    assert (status, "") == (run["output"]["status"], run["output"]["text"])
    assert 1 == len(provider.got)


def test_a_redirect_is_followed_and_takes_no_secret_to_another_server(server: Server, app: NodeApp, provider: Provider):
    other = Provider(Said(200, "arrived"))
    provider.say[:] = [Said(302, "", {"Location": "/near"}), Said(307, "", {"Location": f"{other.url}/far"})]
    try:
        headers = {"Authorization": "Bearer it", "X-Api-Key": "it", "Accept": "text/plain"}
        run = fetched(server, app, provider.url, headers=headers)

        assert "arrived" == run["output"]["text"]
        assert ["/", "/near"] == [it.path for it in provider.got]
        assert ["Bearer it"] * 2 == [it.headers["authorization"] for it in provider.got]
        [far] = other.got
        assert {"authorization", "x-api-key"} & far.headers.keys() == set()
        assert ("/far", "text/plain") == (far.path, far.headers["accept"])
    finally:
        other.stop()


def test_what_redirects_in_a_circle_is_an_error(server: Server, app: NodeApp, provider: Provider):
    provider.say[:] = [Said(302, "", {"Location": "/"})]

    assert "redirected more than 5 times" in fetched(server, app, provider.url)["output"]["failed"]


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://127.0.0.1:1/"])
def test_what_cannot_be_fetched_is_an_error_of_the_step(server: Server, app: NodeApp, url: str):
    run = fetched(server, app, url)

    assert "Completed" == run["status"]
    assert run["output"]["failed"]
    assert [("Failed", 1)] == [(step["status"], step["attempts"]) for step in run["steps"]]


def test_fetch_is_durable_wherever_it_is_called_in_a_function(server: Server, app: NodeApp, provider: Provider):
    provider.say[:] = [Said(200, "one"), Said(200, "two")]

    run = server.ended(app.send("fetches_within", {"url": provider.url}))

    assert ("Completed", "two") == (run["status"], run["output"])
    assert [("/first", ""), ("/second", "one")] == [(it.path, it.body) for it in provider.got]
    assert ["before", "after"] == app.ran(run["run_id"])


def test_fetches_at_once_are_each_made_once(server: Server, app: NodeApp, provider: Provider):
    provider.say[:] = [Said(200, "same")]

    run = server.ended(app.send("fetches_at_once", {"url": provider.url}))

    assert ("Completed", ["same"] * 3) == (run["status"], run["output"])
    assert ["/a", "/b", "/c"] == sorted(it.path for it in provider.got)


def test_a_sleep_that_ends_before_a_fetch_wins_their_race(server: Server, app: NodeApp, provider: Provider):
    provider.open.clear()
    event = app.send("fetch_or_nap", {"url": provider.url})
    until(lambda: provider.got, "the request")
    [run] = server.runs_of(event)
    server.step(run["run_id"], "nap", "Sleeping")
    app.skip(timedelta(hours=1, seconds=1))
    server.step(run["run_id"], "nap", "Completed")
    provider.open.set()  # The SDK holds the result back until the slower one is done, too.

    assert "too late" == server.ended(event)["output"]


@pytest.mark.parametrize(
    ("format", "path", "header"),
    [
        ("openai", "/chat/completions", ("authorization", "Bearer sk-secret")),
        ("anthropic", "/messages", ("x-api-key", "sk-secret")),
        ("gemini", "/models/m:generateContent", None),
    ],
)
def test_each_kind_of_provider_gets_its_key_and_the_body(
    server: Server, app: NodeApp, provider: Provider, format: str, path: str, header: tuple[str, str] | None
):
    provider.say[:] = [Said(200, {"said": "hello"})]

    run = server.ended(app.send(f"ask_{format}", {"url": provider.url}))

    assert ("Completed", {"said": "hello"}) == (run["status"], run["output"])
    [got] = provider.got
    assert ("POST", path) == (got.method, got.path)
    assert [{"role": "user", "content": "hi"}] == json.loads(got.body)["messages"]
    if header is not None:
        assert header[1] == got.headers[header[0]]
    else:
        assert "key=sk-secret" == got.query
