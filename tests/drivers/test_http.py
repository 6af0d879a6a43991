"""The HTTP driver, against real sockets."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from inngest._internal import net, server_lib

from orchestrator.clock import SettableClock
from orchestrator.core.message import Asked, Returned, StepDone, Threw
from orchestrator.drivers.base import Answer, Call
from orchestrator.drivers.curl import CurlClient
from orchestrator.drivers.guard import AddressPolicy
from orchestrator.drivers.http import HttpDriver
from orchestrator.protocol.request import MAX_INLINE_STATE

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = "signkey-prod-" + "ab" * 32
SDK = "X-Inngest-SDK: inngest-py:v0.5.19\r\nX-Inngest-Req-Version: 2\r\n"
EVENT = '{"id":"1","name":"shop/order","data":{"text":"grün 🚀","n":123456789012345678901},"ts":1700000000000}'
CALL = Call(
    url="http://replaced/api/inngest?fnId=shop-order&stepId=step",
    function_slug="shop-order",
    run_id="01JD3M2Q3V0000000000000000",
    target=None,
    attempt=1,
    max_attempts=4,
    events=[EVENT],
    memo={"b" * 40: '{"data":1.50}', "a" * 40: "null"},
    current=2,
    plan_only=False,
    request_version=2,
    job_id="job-1",
    generation=3,
    timeout=timedelta(seconds=10),
)


def driver(signing_key: str | None = None, server_kind: str = "dev", **limits) -> HttpDriver:
    client = CurlClient(policy=AddressPolicy(allow_private=True), **limits)
    return HttpDriver(client, clock=SettableClock(NOW), signing_key=signing_key, server_kind=server_kind)


def call_to(site, **changes) -> Call:
    return replace(CALL, url=f"{site.url}/api/inngest?fnId=shop-order&stepId=step", **changes)


@pytest.fixture
def app(reply_with, whole_answer):
    """A site that answers every call like an app whose function returned 7."""
    return reply_with(whole_answer(b"7", headers=SDK), keep=True)


def error_of(answer: Answer) -> dict[str, str]:
    assert isinstance(answer.reply, Threw)
    return json.loads(answer.reply.error)


def test_a_returned_value_comes_back_with_what_the_app_says_of_itself(app) -> None:
    answer = driver().call(call_to(app))

    assert answer == Answer(Returned(None, 1, "7"), 2, "inngest-py:v0.5.19")


def test_ops_come_back_for_the_step_that_was_called(reply_with, whole_answer) -> None:
    op = json.dumps([{"id": "c" * 40, "name": "pay", "op": "StepRun", "data": "grün"}], ensure_ascii=False).encode()
    site = reply_with(whole_answer(op, "206 Partial Content", SDK))

    reply = driver().call(call_to(site, target="c" * 40)).reply

    assert isinstance(reply, Asked)
    assert reply.target == "c" * 40
    assert [type(op) for op in reply.ops] == [StepDone]
    assert [json.loads(op.output) for op in reply.ops if isinstance(op, StepDone)] == ["grün"]


def test_a_request_says_what_is_called_and_how_often(app) -> None:
    driver().call(call_to(app, target="c" * 40))

    received = app.requests[0]
    assert (received.method, received.target) == ("POST", f"/api/inngest?fnId=shop-order&stepId={'c' * 40}")
    wanted = {
        "content-type": "application/json",
        "x-run-id": CALL.run_id,
        "x-inngest-step-id": "c" * 40,
        "x-inngest-req-version": "2",
        "x-inngest-job-id": "job-1",
        "x-inngest-generation-id": "3",
        "x-inngest-server-kind": "dev",
    }
    assert {name: received.headers[name] for name in wanted} == wanted
    assert "x-inngest-signature" not in received.headers
    context = json.loads(received.body)["ctx"]
    assert (context["run_id"], context["attempt"], context["max_attempts"]) == (CALL.run_id, 1, 4)


def test_texts_of_users_arrive_as_they_were_stored(app) -> None:
    driver().call(call_to(app))

    body = app.requests[0].body.decode()
    assert EVENT in body
    assert '{"data":1.50}' in body


def test_every_dispatch_has_an_id_of_its_own(app) -> None:
    http = driver()
    for _ in range(2):
        http.call(call_to(app))

    assert len({received.headers["x-request-id"] for received in app.requests}) == 2


@pytest.mark.parametrize(("excess", "use_api"), [(-200, False), (1, True)])
def test_a_large_state_is_left_for_the_app_to_fetch(app, excess: int, use_api: bool) -> None:
    memo = {"a" * 40: json.dumps("x" * (MAX_INLINE_STATE + excess))}

    driver().call(call_to(app, events=['{"name":"e"}'], memo=memo))

    body = json.loads(app.requests[0].body)
    assert (body["use_api"], body["ctx"]["use_api"]) == (use_api, use_api)
    assert (body["steps"] == {}, body["events"] == []) == (use_api, use_api)
    assert body["ctx"]["stack"]["stack"] == ["a" * 40]


class TestSignature:
    @pytest.mark.parametrize("event", [EVENT, '{"name":"e","data":{"z":1e3,"a":0.10,"é":"\\u00e9"}}'])
    def test_the_official_sdk_accepts_it(self, app, event: str) -> None:
        driver(KEY, "cloud").call(call_to(app, events=[event]))

        received = app.requests[0]
        accepted = net.validate_request_sig(
            body=received.body,
            headers=received.headers,
            mode=server_lib.ServerKind.CLOUD,
            signing_key=KEY,
            signing_key_fallback=None,
        )
        assert accepted == KEY

    def test_it_tells_the_time_of_its_making(self, app) -> None:
        driver(KEY).call(call_to(app))

        assert app.requests[0].headers["x-inngest-signature"].startswith(f"t={int(NOW.timestamp())}&s=")


class TestFailures:
    def test_an_absent_app_counts_as_an_attempt_and_is_named(self, app) -> None:
        app.stop()

        answer = driver().call(call_to(app, target="c" * 40))

        error = error_of(answer)
        assert error["code"] == "unreachable"
        assert error["message"] == (
            f"No answer from 127.0.0.1:{app.port}: the connection was refused, nothing listens there."
        )
        assert answer == Answer(Threw("c" * 40, 1, answer.reply.error, retryable=True))

    def test_silence_ends_with_the_time_of_the_call(self, serve) -> None:
        site = serve(lambda connection, _received: connection.recv(1) != b"")

        error = error_of(driver().call(call_to(site, timeout=timedelta(seconds=0.1))))

        assert error["code"] == "timeout"
        assert error["message"].endswith("it did not answer in full within 0.1 s.")

    def test_a_too_large_answer_names_the_limit_and_is_not_asked_for_again(self, reply_with, whole_answer) -> None:
        site = reply_with(whole_answer(b"x" * 1001, headers=SDK))

        answer = driver(body_limit=1000).call(call_to(site))

        error = error_of(answer)
        assert (error["name"], error["code"]) == ("AnswerTooLarge", "response_too_large")
        assert "limit of 1000 bytes" in error["message"]
        assert not answer.reply.retryable

    def test_a_blocked_address_is_told_as_such(self, app) -> None:
        answer = HttpDriver(CurlClient(), clock=SettableClock(NOW)).call(call_to(app))

        assert error_of(answer)["code"] == "blocked_address"

    @pytest.mark.parametrize("url", ["ftp://app/", "nonsense", "http://", "http://[", "http://a b/", "http://a/\x00"])
    def test_an_unusable_url_is_a_failed_attempt(self, url: str) -> None:
        assert error_of(driver().call(replace(CALL, url=url)))["message"]

    @pytest.mark.parametrize("data", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n7"])
    def test_no_whole_answer_may_be_tried_again(self, reply_with, data: bytes) -> None:
        answer = driver().call(call_to(reply_with(data)))

        assert isinstance(answer.reply, Threw)
        assert answer.reply.retryable

    @pytest.mark.parametrize("status", ["302 Found", "200 OK", "502 Bad Gateway"])
    def test_who_is_no_sdk_is_not_believed(self, reply_with, whole_answer, status: str) -> None:
        site = reply_with(whole_answer(b"7", status, "Location: http://127.0.0.1:1/\r\n"))

        answer = driver().call(call_to(site))

        assert isinstance(answer.reply, Threw)
        assert len(site.requests) == 1
