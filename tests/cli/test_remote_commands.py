"""`send`, `run`, `events` and `cancel` against a server over real HTTP."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from orchestrator.cli.exits import Exit
from tests.cli.conftest import FakeServer

Run = Callable[..., Result]

RUN_ID = "01J8ABCDEFGHJKMNPQRSTVWXK2"
RUN: dict[str, Any] = {
    "run_id": RUN_ID,
    "status": "Failed",
    "function_id": "shop-import",
    "run_started_at": "2026-11-21T12:00:01Z",
    "ended_at": "2026-11-21T12:00:05.100Z",
    "output": {"name": "TimeoutError", "message": "S3\x1b[2J", "stack": "..."},
    "steps": [
        {
            "id": "a1",
            "name": "copy-images",
            "op": "StepRun",
            "status": "Completed",
            "attempts": 1,
            "started_at": "2026-11-21T12:00:01Z",
            "ended_at": "2026-11-21T12:00:01.412Z",
            "output": 1,
            "error": None,
        },
        {
            "id": "b2",
            "name": "resize",
            "op": "StepRun",
            "status": "Failed",
            "attempts": 5,
            "started_at": None,
            "ended_at": None,
            "output": None,
            "error": {"name": "TimeoutError", "message": "S3"},
        },
    ],
}


def test_an_event_is_sent_and_its_id_told(orchestrator: Run, server: FakeServer):
    server.answers["POST /e/dev"] = (200, {"ids": ["01J8E"], "status": 200})

    result = orchestrator("send", "shop/paid", '{"n": 7}', "--id", "order-7", "--server", server.url)

    assert (Exit.OK, "sent shop/paid  01J8E\n") == (result.exit_code, result.stdout)
    assert {"name": "shop/paid", "data": {"n": 7}, "id": "order-7"} == server.asked[0].body
    assert "application/json" == server.asked[0].headers["content-type"]


def test_data_may_be_left_out_or_come_from_standard_input(orchestrator: Run, server: FakeServer):
    server.answers["POST /e/dev"] = (200, {"ids": ["01J8E"], "status": 200})

    orchestrator("send", "a/b", ORCHESTRATOR_URL=server.url)
    orchestrator("send", "a/b", "-", stdin='{"n": 8}', ORCHESTRATOR_URL=server.url + "/")

    assert [{}, {"n": 8}] == [asked.body["data"] for asked in server.asked]


def test_the_event_key_comes_from_the_environment_and_is_quoted(orchestrator: Run, server: FakeServer):
    server.answers["POST /e/k%2F1"] = (200, {"ids": ["01J8E"], "status": 200})

    result = orchestrator("send", "a/b", "--server", server.url, "--json", INNGEST_EVENT_KEY="k/1,k2")

    assert {"ids": ["01J8E"], "status": 200} == json.loads(result.stdout)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("{'n': 7}", "DATA is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        ("[1]", "DATA must be a JSON object"),
        ('{"n": NaN}', "DATA holds NaN, which JSON does not know"),
    ],
)
def test_data_that_is_no_json_object_is_refused_before_it_is_sent(
    data: str, sentence: str, orchestrator: Run, server: FakeServer
):
    result = orchestrator("send", "a/b", data, "--server", server.url)

    assert Exit.USAGE == result.exit_code
    assert sentence in result.stderr
    assert [] == server.asked


def test_a_run_is_shown_with_its_steps_and_what_came_out(orchestrator: Run, server: FakeServer):
    server.answers[f"GET /v1/runs/{RUN_ID}"] = (200, {"data": RUN})

    result = orchestrator("run", RUN_ID, "--server", server.url)

    lines = [line for line in result.stdout.splitlines() if not line.startswith(("started", "ended"))]
    assert Exit.OK == result.exit_code
    assert [
        f"run       {RUN_ID}",
        "function  shop-import",
        "status    failed",
        "steps",
        f"  completed  copy-images  |{'=' * 2:<24}|   412 ms",
        f"  failed     resize       |{'':<24}|   5 attempts   TimeoutError: S3",
        "error     TimeoutError: S3\\x1b[2J",
    ] == lines
    assert "   4.1 s\n" in result.stdout


def test_a_run_is_printed_whole_as_json(orchestrator: Run, server: FakeServer):
    server.answers[f"GET /v1/runs/{RUN_ID}"] = (200, {"data": RUN})

    result = orchestrator("run", RUN_ID, "--json", "--server", server.url)

    assert RUN == json.loads(result.stdout)


def test_a_run_that_is_queued_has_neither_times_nor_steps(orchestrator: Run, server: FakeServer):
    queued = {"run_id": RUN_ID, "status": "Queued", "function_id": "f", "ended_at": None, "steps": []}
    server.answers[f"GET /v1/runs/{RUN_ID}"] = (200, {"data": queued})

    result = orchestrator("run", RUN_ID, "--server", server.url)

    assert [f"run       {RUN_ID}", "function  f", "status    queued"] == result.stdout.splitlines()


def test_events_are_listed(orchestrator: Run, server: FakeServer):
    event = {"internal_id": "01J8E", "name": "a/b", "data": {"n": 1}, "received_at": "not a time"}
    server.answers["GET /v1/events?limit=2&name=a%2Fb"] = (200, {"data": [event]})

    result = orchestrator("events", "--limit", "2", "--name", "a/b", "--server", server.url)

    assert 'not a time  a/b  01J8E  {"n": 1}\n' == result.stdout


def test_no_events_is_said_beside_the_list(orchestrator: Run, server: FakeServer):
    server.answers["GET /v1/events?limit=20"] = (200, {"data": []})

    result = orchestrator("events", "--server", server.url)

    assert (Exit.OK, "") == (result.exit_code, result.stdout)
    assert "no events yet" in result.stderr


def test_a_run_is_cancelled(orchestrator: Run, server: FakeServer):
    server.answers[f"DELETE /v1/runs/{RUN_ID}"] = (200, b"")

    result = orchestrator("cancel", RUN_ID, "--server", server.url)

    assert (Exit.OK, f"cancelled {RUN_ID}\n") == (result.exit_code, result.stdout)


def test_the_signing_key_is_sent_as_its_hash_only(orchestrator: Run, server: FakeServer):
    orchestrator("cancel", "x", "--server", server.url, INNGEST_SIGNING_KEY="signkey-test-00ff")

    expected = f"Bearer {hashlib.sha256(bytes.fromhex('00ff')).hexdigest()}"
    assert expected == server.asked[0].headers["authorization"]


REFUSALS = [
    (404, {"error": "there is no such run"}, Exit.NOT_FOUND, "the server answered 404: there is no such run"),
    (401, {"error": "x"}, Exit.REFUSED, "set ORCHESTRATOR_SIGNING_KEY"),
    (409, {"error": "already ended"}, Exit.REFUSED, "the server answered 409: already ended"),
    (400, {"errors": [{"code": "x", "message": "no app"}]}, Exit.REFUSED, "the server answered 400: no app\n"),
    (400, {"errors": "x"}, Exit.REFUSED, 'the server answered 400: {"errors": "x"}'),
    (413, b"<html>\x1b", Exit.REFUSED, "the server answered 413: <html>\\x1b"),
    (500, b"", Exit.FAILED, "the server answered 500: nothing more"),
    (200, b"<html>", Exit.UNREACHABLE, "answers, but not as an orchestrator does"),
]


@pytest.mark.parametrize(("status", "body", "code", "sentence"), REFUSALS)
def test_a_refusal_is_a_sentence_and_a_code(
    status: int, body: object, code: Exit, sentence: str, orchestrator: Run, server: FakeServer
):
    server.answers["GET /v1/runs/x"] = (status, body)

    result = orchestrator("run", "x", "--server", server.url)

    assert code == result.exit_code
    assert sentence in result.stderr


def test_a_redirect_is_named_and_not_followed(orchestrator: Run, server: FakeServer):
    server.headers["Location"] = "https://elsewhere.example"
    server.answers["GET /v1/runs/x"] = (302, b"")

    result = orchestrator("run", "x", "--server", server.url)

    assert Exit.UNREACHABLE == result.exit_code
    assert "sends us on to https://elsewhere.example; give that address as --server" in result.stderr
    assert 1 == len(server.asked)


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("https://elsewhere.example/e/secret", "sends us on to https://elsewhere.example; give"),
        ("https://elsewhere.example/prefix/e/secret?x=y", "sends us on to https://elsewhere.example/prefix; give"),
        ("https://login.example/?next=/e/secret", "sends us on to https://login.example; give"),
        ("/e/secret/", "is --server right?"),
        ("http://[", "is --server right?"),
    ],
)
def test_a_redirect_tells_the_server_and_not_the_key(
    orchestrator: Run, server: FakeServer, location: str, sentence: str
):
    server.headers["Location"] = location
    server.answers["POST /e/secret"] = (308, b"")

    result = orchestrator("send", "a/b", "--event-key", "secret", "--server", server.url)

    assert Exit.UNREACHABLE == result.exit_code
    assert sentence in result.stderr
    assert "secret" not in result.output


def test_a_server_that_is_not_there_is_answered_with_a_question(orchestrator: Run):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        result = orchestrator("run", "x", "--server", url)

    assert Exit.UNREACHABLE == result.exit_code
    assert f"nothing answers at {url}: is `orchestrator dev` running?" in result.stderr


@pytest.mark.parametrize("url", ["localhost:8288", "file:///etc/passwd", "http://"])
def test_a_server_is_named_by_an_http_url(url: str, orchestrator: Run):
    result = orchestrator("run", "x", "--server", url)

    assert Exit.USAGE == result.exit_code
    assert "--server must be a URL that starts with http:// or https://" in result.stderr


def test_a_setting_of_a_function_is_sent_and_told(orchestrator: Run, server: FakeServer):
    server.answers["PATCH /v1/functions/shop-pay"] = (200, {"data": {"wait_look_back": True}})

    result = orchestrator("functions", "set", "shop-pay", "wait-look-back=true", "--server", server.url)

    assert (Exit.OK, "shop-pay: wait-look-back is true\n") == (result.exit_code, result.stdout)
    assert {"wait_look_back": True} == server.asked[0].body


@pytest.mark.parametrize("setting", ["wait-look-back", "wait-look-back=yes", "colour=true"])
def test_a_setting_that_is_none_is_refused(orchestrator: Run, server: FakeServer, setting: str):
    result = orchestrator("functions", "set", "shop-pay", setting, "--server", server.url)

    assert (Exit.USAGE, []) == (result.exit_code, server.asked)


def test_a_limit_is_sent_and_told(orchestrator: Run, server: FakeServer):
    server.answers["PATCH /v1/functions/shop-pay"] = (200, {"data": {}})

    results = [
        orchestrator("limit", "shop-pay", *words, "--server", server.url)
        for words in (["concurrency=5"], ["concurrency=declared", "--key", "event.data.user"])
    ]

    assert [(Exit.OK, "shop-pay: concurrency is 5\n"), (Exit.OK, "shop-pay: concurrency is as declared\n")] == [
        (result.exit_code, result.stdout) for result in results
    ]
    assert [{"concurrency": 5}, {"concurrency": None, "concurrency_key": "event.data.user"}] == [
        asked.body for asked in server.asked
    ]


@pytest.mark.parametrize(
    "setting",
    [
        *("concurrency", "concurrency=0", "concurrency=-1", "throttle=3", "concurrency=many", "throttle=0/1m"),
        *("throttle=/1m", "rate-limit=3/", "rate=3/1m", "debounce=1s"),
    ],
)
def test_a_limit_that_is_none_is_refused(orchestrator: Run, server: FakeServer, setting: str):
    result = orchestrator("limit", "shop-pay", setting, "--server", server.url)

    assert (Exit.USAGE, []) == (result.exit_code, server.asked)


def test_a_limit_on_starts_is_sent_and_told(orchestrator: Run, server: FakeServer):
    server.answers["PATCH /v1/functions/shop-pay"] = (200, {"data": {}})

    results = [
        orchestrator("limit", "shop-pay", setting, "--server", server.url)
        for setting in ("throttle=10/1m", "rate-limit=100/1h", "throttle=declared")
    ]

    assert ["throttle is 10/1m", "rate-limit is 100/1h", "throttle is as declared"] == [
        result.stdout.removeprefix("shop-pay: ").strip() for result in results
    ]
    assert [
        {"throttle": {"limit": 10, "period": "1m"}},
        {"rate_limit": {"limit": 100, "period": "1h"}},
        {"throttle": None},
    ] == [asked.body for asked in server.asked]


def test_a_key_names_no_limit_on_starts(orchestrator: Run, server: FakeServer):
    result = orchestrator("limit", "shop-pay", "throttle=1/1m", "--key", "x", "--server", server.url)

    assert (Exit.USAGE, []) == (result.exit_code, server.asked)


def test_why_a_run_waits_is_told_with_the_events_that_did_not_match(orchestrator: Run, server: FakeServer):
    missed = {"id": "01E", "received_at": "2026-11-21T12:00:01Z", "why": "async.data.n is 8, not 7"}
    waits = [
        {"kind": "sleep", "sentence": "it sleeps", "details": {}},
        {"kind": "event", "sentence": "it waits for \x1b[2J", "details": {"last": [missed]}},
    ]
    server.answers[f"GET /v1/runs/{RUN_ID}"] = (200, {"data": {"status": "Running", "waits": waits}})

    result = orchestrator("why", RUN_ID, "--server", server.url)

    assert (
        "it sleeps\nit waits for \\x1b[2J\n"
        "  event 01E at 2026-11-21T12:00:01Z did not match: async.data.n is 8, not 7\n"
    ) == result.stdout


def test_why_an_event_waits_is_told(orchestrator: Run, server: FakeServer):
    answers = [[{"kind": "batch", "sentence": "a batch has \x1b[2J"}], []]
    said = []
    for answer in answers:
        server.answers[f"GET /v1/events/{RUN_ID}/waits"] = (200, {"data": answer})
        said.append(orchestrator("why", "--event", RUN_ID, "--server", server.url).stdout)

    none = f"{RUN_ID} waits in no debounce and no batch; orchestrator events shows its runs\n"
    assert ["a batch has \\x1b[2J\n", none] == said


@pytest.mark.parametrize(
    ("status", "said"), [("Running", "is running: it is at work, or about to be"), ("Failed", "is failed: it is over")]
)
def test_a_run_that_waits_for_nothing_is_told_so(orchestrator: Run, server: FakeServer, status: str, said: str):
    server.answers[f"GET /v1/runs/{RUN_ID}"] = (200, {"data": {"status": status, "waits": []}})

    assert f"{RUN_ID} {said}\n" == orchestrator("why", RUN_ID, "--server", server.url).stdout


@pytest.mark.parametrize(("command", "said"), [("pause", "paused shop-pay"), ("resume", "resumed shop-pay")])
def test_a_function_is_paused_and_resumed(orchestrator: Run, server: FakeServer, command: str, said: str):
    server.answers[f"POST /v1/functions/shop-pay/{command}"] = (200, {"data": {}})

    result = orchestrator(command, "shop-pay", "--server", server.url)

    assert (Exit.OK, said) == (result.exit_code, result.stdout.strip()[: len(said)])
