"""Clients of durable endpoints wait for outputs, whatever those are."""

from __future__ import annotations

import json
import threading

import pytest

from orchestrator.api.outputs import OutputApp, OutputTokens
from orchestrator.api.wsgi_call import Headers
from orchestrator.core.effect import Status
from tests.api.conftest import World

DEEP = "[" * 300 + "]" * 300
#: More than a float holds; Python writes such numbers.
HUGE = "1" + "0" * 400


class NothingElse:
    most_body = 1

    def __call__(self, environ: object, start_response: object) -> list[bytes]:
        raise AssertionError(environ)

    def answer_soon(self, environ: object, answer: object) -> bool:
        raise AssertionError(environ)

    def stop_waiting(self) -> None:
        pass


def answer_to(app: OutputApp, run_id: str) -> tuple[str, dict[str, str], bytes]:
    told: list[tuple[str, Headers, bytes]] = []
    there = threading.Event()

    def answer(status: str, headers: Headers, body: bytes) -> None:
        told.append((status, headers, body))
        there.set()

    assert app.answer_soon({"PATH_INFO": f"/v1/http/runs/{run_id}/output", "REQUEST_METHOD": "GET"}, answer)
    assert there.wait(10), "there is no answer"
    status, headers, body = told[0]
    return status, dict(headers), body


@pytest.fixture
def app(world: World) -> OutputApp:
    return OutputApp(NothingElse(), world.parts.database, OutputTokens(()), "dev")


@pytest.mark.parametrize(
    ("output", "status", "body"),
    [
        (f'{{"status":201,"body":{DEEP}}}', "201 Created", DEEP),
        (f'{{"status":201,"body":{{"n":{HUGE}}}}}', "201 Created", f'{{"n":{HUGE}}}'),
        (f'{{"status":201,"body":"fried","n":{HUGE}}}', "201 Created", "fried"),
        (HUGE, "200 OK", HUGE),
        ('{"status":"201","body":1}', "200 OK", '{"status":"201","body":1}'),
        ('{"status":99,"body":"\\u00e9"}', "200 OK", "é"),
    ],
)
def test_any_output_is_told_and_the_next_one_too(
    world: World, app: OutputApp, output: str, status: str, body: str
) -> None:
    strange = world.finished(world.event(), Status.COMPLETED, output)
    plain = world.finished(world.event(), Status.COMPLETED, '"fried"')

    told = answer_to(app, strange)

    assert (status, body.encode()) == (told[0], told[2])
    assert b'"fried"' == answer_to(app, plain)[2]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (f'{{"name":"TypeError","message":"no","n":{HUGE}}}', "TypeError: no"),
        (f'{{"name":"TypeError","message":"no","cause":{DEEP}}}', "TypeError: no"),
        ('"no"', "the run failed"),
    ],
)
def test_any_error_is_told_and_the_next_output_too(world: World, app: OutputApp, error: str, sentence: str) -> None:
    strange = world.finished(world.event(), Status.FAILED, error=error)
    plain = world.finished(world.event(), Status.COMPLETED, '"fried"')

    status, _, body = answer_to(app, strange)

    assert ("500 Internal Server Error", sentence) == (status, json.loads(body)["error"])
    assert b'"fried"' == answer_to(app, plain)[2]


def test_the_endpoints_headers_are_told_but_for_those_that_are_the_servers(world: World, app: OutputApp) -> None:
    headers = {"X-Pan": "hot", "Connection": "close", "X-Line": "a\r\nb", "X-Number": 7, "Content-Type": "text/fried"}
    run_id = world.finished(
        world.event(), Status.COMPLETED, json.dumps({"status": 200, "headers": headers, "body": "egg"})
    )

    _, told, _ = answer_to(app, run_id)

    assert ("hot", "text/fried") == (told["X-Pan"], told["Content-Type"])
    assert not {"Connection", "X-Line", "X-Number"} & told.keys()
