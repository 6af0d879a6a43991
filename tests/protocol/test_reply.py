"""Whatever an app answers becomes a message: statuses, bodies, headers and errors."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from orchestrator.core.message import Asked, Returned, StepDone, StepErrored, Threw
from orchestrator.protocol.reply import transport_failure
from tests.protocol.replies import asked, parse, parsed_ops, threw


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b'{"b":1,"a":2}', '{"b":1,"a":2}'), (b"null", "null"), (b"", "null"), (b' "x" \n', '"x"')],
)
def test_200_returns_the_body_as_it_is(body: bytes, expected: str) -> None:
    assert Returned(None, 1, expected) == parse(200, body).reply


def test_users_values_are_never_written_anew() -> None:
    value = b'{"z":12345678901234567890,"a":1.0,"e":1e2,"u":"\\u00e9","d":1,"d":2}'
    assert Returned(None, 1, value.decode()) == parse(200, value).reply
    [step] = parsed_ops(b'[{"op":"StepRun","id":"s","data": ' + value + b" }]")
    assert isinstance(step, StepDone)
    assert value.decode() == step.output


def test_half_a_surrogate_pair_is_replaced_because_nobody_could_read_it() -> None:
    body = rb'{"cut":"\ud83d!","whole":"\ud83d\ude00","escaped":"\\ud83d","odd":"\\\udc00"}'
    expected = r'{"cut":"\ufffd!","whole":"\ud83d\ude00","escaped":"\\ud83d","odd":"\\\ufffd"}'
    assert Returned(None, 1, expected) == parse(200, body).reply


def test_the_answer_tells_the_request_version_and_the_sdk() -> None:
    parsed = parse(200, None)
    assert (2, "inngest-py:v0.5.19") == (parsed.request_version, parsed.sdk)
    assert parse(200, None, {"x-inngest-req-version": "two"}).request_version is None


@pytest.mark.parametrize("body", [b"{", b"hello", b'"\xff"', b"[" * 100_000, b"NaN", b"1 2", b"\xef\xbb\xbfnull"])
@pytest.mark.parametrize("status", [200, 201, 206])
def test_what_is_not_json_is_tried_again(status: int, body: bytes) -> None:
    error, retryable = threw(parse(status, body))
    assert ("InvalidAnswer", True) == (error["name"], retryable)
    assert "cannot be read" in error["message"]


# The streaming wrapper.


@pytest.mark.parametrize(
    ("wrapped", "expected"),
    [
        ({"status": 200, "body": '{"a":1}'}, Returned(None, 1, '{"a":1}')),
        ({"status": 200, "body": {"a": 1}}, Returned(None, 1, '{"a": 1}')),
        ({"status": 200, "body": '"text"'}, Returned(None, 1, '"text"')),
        ({"status": 200, "body": "no json"}, Returned(None, 1, '"no json"')),
        ({"status": 200, "headers": None}, Returned(None, 1, "null")),
        ({"status": 206, "body": "[]"}, Asked(None, 1, ())),
        (
            {"status": 500, "headers": {"X-Inngest-No-Retry": "true"}, "body": '{"name":"E","message":"m"}'},
            Threw(None, 1, '{"name":"E","message":"m"}', retryable=False),
        ),
        (
            {"status": 200, "body": "1", "error": {"name": "E", "message": "m"}},
            Threw(None, 1, '{"name": "E", "message": "m"}', retryable=True),
        ),
    ],
)
def test_201_holds_another_answer_after_any_number_of_spaces(wrapped: object, expected: object) -> None:
    assert expected == parse(201, b"    \n  " + json.dumps(wrapped).encode()).reply


def test_the_wrapped_headers_win() -> None:
    parsed = parse(201, {"status": 200, "headers": {"x-inngest-req-version": 1, "X-Inngest-SDK": "inngest-js:v4.24.0"}})
    assert (1, "inngest-js:v4.24.0") == (parsed.request_version, parsed.sdk)


# Ops.


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503, 302, 204])
@pytest.mark.parametrize(("no_retry", "retryable"), [("true", False), (" TRUE ", False), ("false", True), ("", True)])
def test_a_function_error_is_tried_again_unless_the_header_forbids_it(
    status: int, no_retry: str, retryable: bool
) -> None:
    body = b'{"name":"E","message":"m","stack":"s","__serialized":true}'
    parsed = parse(status, body, {"x-inngest-no-retry": no_retry})
    assert Threw(None, 1, body.decode(), retryable) == parsed.reply


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"<html>", "<html>"), (b"x" * 9000, "x" * 4096), (b"", "the app gave no message"), (b"\xff", "?"), (b'"t"', "t")],
)
def test_an_error_body_that_is_no_object_becomes_the_message(body: bytes, message: str) -> None:
    assert ({"name": "Error", "message": message}, True) == threw(parse(500, body))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", timedelta(seconds=90)),
        ("1.5", timedelta(seconds=1.5)),
        ("2026-11-20T12:20:36.472Z", timedelta(minutes=20, seconds=36, milliseconds=472)),
        ("Fri, 20 Nov 2026 12:00:10 GMT", timedelta(seconds=10)),
        ("Fri, 20 Nov 2020 12:00:10 GMT", timedelta()),
        ("999999999", timedelta(hours=24)),
        ("9999-12-31", timedelta(hours=24)),
        ("0001-01-01T00:00:00+23:59", None),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, expected: timedelta | None) -> None:
    reply = parse(500, {"name": "E", "message": "m"}, {"retry-after": text}).reply
    assert isinstance(reply, Threw)
    assert expected == reply.retry_after
    [step] = asked({"op": "StepError", "id": "h"}, retry_after=text)
    assert isinstance(step, StepErrored)
    assert expected == step.retry_after


@pytest.mark.parametrize(
    ("status", "headers", "code", "sentence"),
    [
        (200, {}, "not_sdk", "not an app on an SDK"),
        (206, {}, "not_sdk", "HTTP 206"),
        (201, {}, "not_sdk", "HTTP 201"),
        (502, {}, "http_error", "the app answered HTTP 502 before its SDK"),
        (404, {"x-inngest-no-retry": "true"}, "http_error", "HTTP 404"),
        (401, {}, "http_error", "HTTP 401"),
        (401, {"x-inngest-sdk-handled": "true"}, "unauthorized", "signing key"),
    ],
)
def test_an_answer_that_is_not_an_sdks_counts_as_unreachable(
    status: int, headers: dict[str, str], code: str, sentence: str
) -> None:
    error, retryable = threw(parse(status, b"<html>", headers, sdk=False))
    assert ("AppUnreachable", code, True) == (error["name"], error["code"], retryable)
    assert sentence in error["message"]


def test_a_transport_failure_is_an_attempt_like_any_other() -> None:
    reply = transport_failure("timeout", "no answer within 2h", "step", 3)
    error = '{"name": "AppUnreachable", "message": "no answer within 2h", "code": "timeout"}'
    assert Threw("step", 3, error, retryable=True) == reply


# Recorded traffic.
