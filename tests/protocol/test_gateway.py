"""Requests that the server makes for an app: what is asked for, and what becomes of the answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.core.message import Asked, FetchAsked, Op, StepDone, StepErrored, Threw
from orchestrator.protocol import gateway
from orchestrator.protocol.reply import parse_reply

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HEADERS = {"x-inngest-sdk": "js:v4.24.0"}
SECRET = "sk-secret"
MOST = 4 * 1024 * 1024


def op(kind: str, **options: object) -> Op | str:
    """The op with these options, or the error it is."""
    body = json.dumps([{"op": kind, "id": "s", "displayName": "S", "opts": options}]).encode()
    reply = parse_reply(206, HEADERS, body, target=None, attempt=0, now=NOW).reply
    if isinstance(reply, Threw):
        return str(json.loads(reply.error)["message"])
    assert isinstance(reply, Asked)
    return reply.ops[0]


def asked(kind: str, **options: object) -> gateway.Asked:
    found = op(kind, **options)
    assert isinstance(found, FetchAsked), found
    return gateway.read(found.request)


def answered(
    kind: str, status: int = 200, body: bytes = b"{}", headers: dict[str, str] | None = None, most: int = MOST
) -> StepDone | StepErrored:
    request = asked(kind, url="http://there/")
    return gateway.answered("s", request, "http://there/", status, headers or {}, body, most)


def error(outcome: StepDone | StepErrored) -> dict[str, Any]:
    assert isinstance(outcome, StepErrored), outcome
    return dict(json.loads(outcome.error))


def test_a_fetch_is_what_the_app_says():
    request = asked("Gateway", url="http://there/x?y=1", method="put", headers={"X-A": "1"}, body="text")

    assert gateway.Asked("Gateway", "http://there/x?y=1", "PUT", {"x-a": "1"}, "text") == request


@pytest.mark.parametrize(("method", "expected"), [({}, "POST"), ({"method": None}, "POST"), ({"method": "GET"}, "GET")])
def test_a_fetch_without_a_method_posts(method: dict[str, object], expected: str):
    assert expected == asked("Gateway", url="http://there/", **method).method


@pytest.mark.parametrize(("body", "expected"), [(None, ""), ("", ""), ("a", "a"), ({"b": 1}, '{"b": 1}'), ([1], "[1]")])
def test_a_body_that_is_no_text_is_sent_as_json(body: object, expected: str):
    assert expected == asked("Gateway", url="http://there/", body=body).body


@pytest.mark.parametrize(
    "name", ["Host", "Content-Length", "TRANSFER-ENCODING", "Connection", "Upgrade", "Accept-Encoding", "Expect"]
)
def test_headers_that_speak_of_the_connection_are_not_the_app_s_to_say(name: str):
    assert {"x-a": "1"} == asked("Gateway", url="http://there/", headers={name: "x", "X-A": "1"}).headers


def test_header_values_become_texts():
    headers = asked("Gateway", url="http://there/", headers={"a": ["1", "2"], "b": 3, "c": None}).headers

    assert {"a": "1, 2", "b": "3"} == headers


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "GET / HTTP/1.1", "", " ", "ÄÖ", "A" * 21])
def test_a_method_is_a_word_of_http(method: str):
    found = op("Gateway", url="http://there/", method=method)

    assert isinstance(found, FetchAsked) if method == "" else "the method must be" in str(found)


@pytest.mark.parametrize("url", [{}, {"url": ""}, {"url": 7}, {"url": None}, {"url": "http://x/" + "y" * 9000}])
@pytest.mark.parametrize("kind", ["Gateway", "AIGateway"])
def test_a_request_without_a_url_is_malformed(kind: str, url: dict[str, object]):
    assert "the url must have" in str(op(kind, **url))


@pytest.mark.parametrize("options", [{"url": f"http://{SECRET}\ud800/"}, {"headers": {"a": {"b": SECRET}}, "url": ""}])
def test_what_cannot_be_read_is_not_quoted(options: dict[str, object]):
    assert SECRET not in str(op("Gateway", **options))


def test_a_request_shows_nothing_of_itself():
    found = op("Gateway", url=f"http://u:{SECRET}@there/?k={SECRET}", headers={"a": SECRET}, body=SECRET)

    assert isinstance(found, FetchAsked)
    assert SECRET not in repr(found)
    assert "Asked(Gateway)" == repr(gateway.read(found.request))


def test_a_request_that_is_too_large_fails_the_run():
    assert "the request of step" in str(op("Gateway", url="http://there/", body="x" * (MOST + 1)))


@pytest.mark.parametrize(
    ("format", "header"),
    [
        ("openai-chat", {"authorization": "Bearer sk-secret"}),
        ("openai-responses", {"authorization": "Bearer sk-secret"}),
        ("something-new", {"authorization": "Bearer sk-secret"}),
        ("anthropic", {"x-api-key": "sk-secret"}),
        ("azure-openai", {}),
        ("gemini", {}),
    ],
)
def test_the_key_of_a_provider_goes_where_its_format_wants_it(format: str, header: dict[str, str]):
    request = asked("AIGateway", url="http://there/", format=format, auth_key=SECRET, body={"a": 1})

    assert {"content-type": "application/json"} | header == request.headers
    assert ("POST", '{"a": 1}') == (request.method, request.body)


def test_a_header_of_the_app_s_own_wins():
    headers = {"Authorization": "Basic x", "Content-Type": "application/vnd"}
    request = asked("AIGateway", url="http://there/", format="openai-chat", auth_key=SECRET, headers=headers)

    assert {"authorization": "Basic x", "content-type": "application/vnd"} == request.headers


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://there/m", "http://there/m?key=sk%2Fsecret"),
        ("http://there/m?a=1", "http://there/m?a=1&key=sk%2Fsecret"),
        ("http://there/m?key=mine", "http://there/m?key=mine"),
    ],
)
def test_gemini_s_key_goes_into_the_url_once(url: str, expected: str):
    assert expected == asked("AIGateway", url=url, format="gemini", auth_key="sk/secret").url


def test_a_provider_is_posted_to_whatever_the_app_says():
    assert "POST" == asked("AIGateway", url="http://there/", method="DELETE").method


@pytest.mark.parametrize("status", [200, 301, 404, 500])
def test_every_status_of_a_fetch_is_its_answer(status: int):
    outcome = answered("Gateway", status, "Zoë".encode(), {"a": "1"})

    assert isinstance(outcome, StepDone)
    expected = {"url": "http://there/", "headers": {"a": "1"}, "body": "Zoë", "status_code": status}
    assert expected == json.loads(outcome.output)


def test_a_fetch_of_bytes_that_are_no_text_is_text_all_the_same():
    outcome = answered("Gateway", 200, b"\xff\x00")

    assert isinstance(outcome, StepDone)
    assert "\ufffd\x00" == json.loads(outcome.output)["body"]


@pytest.mark.parametrize(("status", "body"), [(200, ""), (204, None), (205, None), (304, None)])
def test_a_status_that_has_no_body_has_none(status: int, body: str | None):
    outcome = answered("Gateway", status, b"")

    assert isinstance(outcome, StepDone)
    assert body == json.loads(outcome.output)["body"]


@pytest.mark.parametrize("kind", ["Gateway", "AIGateway"])
def test_an_answer_larger_than_a_step_s_output_fails_the_step_at_once(kind: str):
    outcome = answered(kind, 200, b'"' + b"x" * 1000 + b'"', most=1000)

    assert "larger than the limit" in error(outcome)["message"]
    assert isinstance(outcome, StepErrored)
    assert outcome.final


def test_an_answer_that_just_fits_is_taken():
    assert isinstance(answered("AIGateway", 200, b'"' + b"x" * 998 + b'"', most=1000), StepDone)


@pytest.mark.parametrize("status", [200, 201, 299])
def test_a_provider_s_answer_is_kept_as_it_came(status: int):
    outcome = answered("AIGateway", status, b' {"b":1.0, "a":2}\n')

    assert isinstance(outcome, StepDone)
    assert '{"b":1.0, "a":2}' == outcome.output


@pytest.mark.parametrize("status", [199, 300, 401, 500])
def test_any_other_status_of_a_provider_is_an_error_that_may_pass(status: int):
    outcome = answered("AIGateway", status, b"why")

    message = f"Error making AI request: unsuccessful status code: {status}"
    assert {"name": "AIGatewayError", "message": message, "stack": "why"} == error(outcome)
    assert isinstance(outcome, StepErrored)
    assert not outcome.final


@pytest.mark.parametrize(("text", "after"), [("7", 7), ("", None), ("soon", None), ("999999999", 24 * 3600)])
def test_a_provider_may_say_when_to_come_again(text: str, after: int | None):
    outcome = answered("AIGateway", 429, b"", {"retry-after": text})

    assert isinstance(outcome, StepErrored)
    assert (timedelta(seconds=after) if after is not None else None) == outcome.retry_after


def test_a_long_refusal_is_cut():
    assert 4096 == len(error(answered("AIGateway", 500, b"x" * 10_000))["stack"])


@pytest.mark.parametrize("body", [b"", b"<html>", b"data: {}\n\ndata: {}", b"\xff", b"[" * 100_000])
def test_a_provider_s_answer_must_be_json(body: bytes):
    assert "is not JSON" in error(answered("AIGateway", 200, body))["message"]


@pytest.mark.parametrize(("kind", "name"), [("Gateway", "GatewayError"), ("AIGateway", "AIGatewayError")])
@pytest.mark.parametrize(("code", "final"), [("timeout", False), ("unreachable", False), ("blocked_address", True)])
def test_no_answer_is_an_error_of_the_step(kind: str, name: str, code: str, final: bool):
    outcome = gateway.unanswered("s", asked(kind, url="http://there/"), code, "it was silent")

    assert {"name": name, "message": "it was silent"} == error(outcome)
    assert final == outcome.final
