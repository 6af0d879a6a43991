"""Whatever an app answers becomes a message: what SDKs send as they mean it, a failure with a sentence for the rest."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.message import (
    Asked,
    DeferAsked,
    DiscoveryAsked,
    Op,
    Returned,
    SleepAsked,
    StepDone,
    StepErrored,
    StepPlanned,
    Threw,
    Unserved,
)
from orchestrator.protocol.ops import COMPLETE_ID, OPS
from orchestrator.protocol.reply import Parsed, parse_reply, transport_failure
from tests.protocol.recorded import Exchange, exchanges

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SDK = {"x-inngest-sdk": "inngest-py:v0.5.19", "x-inngest-req-version": "2"}


def parse(status: int, body: Any, headers: Mapping[str, str] | None = None, sdk: bool = True) -> Parsed:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given_headers = {**(SDK if sdk else {}), **(headers or {})}
    return parse_reply(status, given_headers, raw, target=None, attempt=1, now=NOW)


def asked(*ops: Mapping[str, Any], **headers: str) -> tuple[Op, ...]:
    reply = parse(206, list(ops), {name.replace("_", "-"): value for name, value in headers.items()}).reply
    assert isinstance(reply, Asked)
    return reply.ops


def threw(parsed: Parsed) -> tuple[dict[str, Any], bool]:
    assert isinstance(parsed.reply, Threw)
    return json.loads(parsed.reply.error), parsed.reply.retryable


# Functions that return.


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


def parsed_ops(body: bytes) -> tuple[Op, ...]:
    reply = parse(206, body).reply
    assert isinstance(reply, Asked)
    return reply.ops


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


def test_no_ops_means_nothing_to_do_on_this_branch() -> None:
    for body in (b"[]", b"null", b"", b'[{"op":"None"}]'):
        assert Asked(None, 1, ()) == parse(206, body).reply


def test_a_bare_object_is_one_op() -> None:
    op = {"op": "StepPlanned", "id": "a"}
    assert Asked(None, 1, (StepPlanned("a", "a", "StepRun"),)) == parse(206, op).reply


def test_a_step_that_ran_keeps_result_input_and_start() -> None:
    timing = {"a": 1795177147119000000, "b": 10}
    op = {"op": "StepRun", "id": "h", "displayName": "Step", "opts": {"input": [1]}, "data": 5, "timing": timing}
    started_at = datetime(2026, 11, 20, 12, 19, 7, 119000, UTC)
    assert (StepDone("h", "Step", "StepRun", "5", started_at, "[1]"),) == asked(op)


@pytest.mark.parametrize("timing", [None, {}, {"a": None}, {"a": "x"}, {"a": 1.5}, {"a": 10**40}, {"a": -(10**21)}, 3])
def test_a_start_that_makes_no_sense_is_left_out(timing: object) -> None:
    [step] = asked({"op": "StepRun", "id": "h", "data": 1, "timing": timing})
    assert StepDone("h", "h", "StepRun", "1") == step


def test_junk_and_null_keys_mean_nothing() -> None:
    op = {"op": "StepRun", "id": "h", "name": "n", "opts": None, "error": None, "userland": {"id": 1, "index": None}}
    assert (StepDone("h", "n", "StepRun", "null"),) == asked({**op, "mode": "sync", "rawArgs": [1, {}], "promise": {}})


@pytest.mark.parametrize(("data", "expected"), [({"data": 1}, "1"), ({"data": 1, "x": 2}, None), (7, "7"), ({}, "{}")])
def test_a_legacy_step_may_wrap_its_data(data: object, expected: str | None) -> None:
    [step] = asked({"op": "Step", "id": "h", "data": data})
    assert isinstance(step, StepDone)
    assert (expected or json.dumps(data)) == step.output


@pytest.mark.parametrize(
    ("opcode", "no_retry", "final"),
    [
        ("StepError", "", False),
        ("StepError", "false", False),
        ("StepError", "true", True),
        ("StepFailed", "", True),
        ("StepFailed", "false", True),
    ],
)
def test_a_step_error_is_final_when_the_op_or_the_header_says_so(opcode: str, no_retry: str, final: bool) -> None:
    error = {"name": "E", "message": "m", "code": "x"}
    [step] = asked({"op": opcode, "id": "h", "error": error}, x_inngest_no_retry=no_retry)
    assert StepErrored("h", "h", "StepRun", json.dumps(error), final) == step


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, {"name": "Error", "message": "the app gave no message"}),
        ("boom", {"name": "Error", "message": "boom"}),
        ({"message": "m"}, {"name": "Error", "message": "m"}),
        ({"name": 1, "message": {"a": 1}, "x": 2}, {"name": "Error", "message": '{"a": 1}', "x": 2}),
        ({"name": "E", "error": "deep"}, {"name": "E", "message": "deep", "error": "deep"}),
        ({"name": "E", "message": "m", "stack": [1]}, {"name": "E", "message": "m"}),
        ({"name": "E", "message": "", "stack": None}, {"name": "E", "message": "", "stack": None}),
        ([1], {"name": "Error", "message": "[1]"}),
        ({"name": "E", "message": "m" * 2_000_000}, {"name": "E", "message": "m" * 4096}),
    ],
)
def test_errors_always_have_a_name_and_a_message(error: object, expected: object) -> None:
    [step] = asked({"op": "StepError", "id": "h", "error": error})
    assert isinstance(step, StepErrored)
    assert expected == json.loads(step.error)


@pytest.mark.parametrize(
    ("opts", "race"), [({"parallelMode": "race"}, True), ({"parallelMode": 1}, False), (None, False)]
)
def test_planned_steps_say_whether_they_race(opts: object, race: bool) -> None:
    assert (StepPlanned("h", "h", "StepRun", race),) == asked({"op": "StepPlanned", "id": "h", "opts": opts})


@pytest.mark.parametrize(
    ("op", "until"),
    [
        ({"name": "10s"}, NOW + timedelta(seconds=10)),
        ({"name": "2026-11-20T12:19:16.185Z"}, datetime(2026, 11, 20, 12, 19, 16, 185000, UTC)),
        ({"name": "10s", "opts": {"duration": "1m"}}, NOW + timedelta(minutes=1)),
        ({"name": "2020-01-01T00:00:00Z"}, NOW),
        ({"name": ""}, NOW),
    ],
)
def test_a_sleep_takes_its_end_from_opts_or_name(op: dict[str, object], until: datetime) -> None:
    assert (SleepAsked("h", "nap", "Sleep", until),) == asked({"op": "Sleep", "id": "h", "displayName": "nap", **op})


def test_a_sleep_that_is_too_long_fails_the_run() -> None:
    error, retryable = threw(parse(206, [{"op": "Sleep", "id": "h", "name": "367d"}]))
    assert ("InngestErrTimeoutTooLong", False) == (error["name"], retryable)
    assert "366d" in error["message"]


def test_run_complete_returns_with_the_ops_before_it() -> None:
    step = {"op": "StepRun", "id": "h", "data": 1}
    reply = parse(206, [step, {"op": "RunComplete", "id": "c", "data": {"a": 1}}]).reply
    assert Returned(None, 1, '{"a": 1}', (StepDone("h", "h", "StepRun", "1"),)) == reply


@pytest.mark.parametrize("opcode", ["StepNotFound", "SyncRunComplete", "Brew"])
def test_an_opcode_that_is_not_served_is_named_together_with_the_sdk(opcode: str) -> None:
    [op] = asked({"op": opcode, "id": "h"})
    assert isinstance(op, Unserved)
    assert opcode in op.reason
    assert "inngest-py:v0.5.19" in op.reason


@pytest.mark.parametrize(
    "op", [{"op": "StepRun"}, {"op": "StepRun", "id": ""}, {"op": "Sleep", "id": "x" * 300}, {"id": "h"}]
)
def test_an_op_without_opcode_or_id_is_malformed(op: object) -> None:
    error, retryable = threw(parse(206, [op]))
    assert ("InvalidAnswer", True) == (error["name"], retryable)


# Limits.


def test_more_than_1000_ops_fail_the_run() -> None:
    ops = [{"op": "StepPlanned", "id": str(number)} for number in range(1001)]
    error, retryable = threw(parse(206, ops))
    assert ("InngestErrFunctionOverflowed", False) == (error["name"], retryable)
    assert isinstance(parse(206, ops[:1000]).reply, Asked)


@pytest.mark.parametrize(("field", "kind"), [("data", "output"), ("input", "input")])
def test_a_step_value_above_4_mib_fails_the_run(field: str, kind: str) -> None:
    limit = 4 * 1024 * 1024

    def answer(size: int) -> Parsed:
        value = "é" * ((size - 2) // 2)
        op = {"op": "StepRun", "id": "h", "name": "big"}
        op |= {"data": value} if field == "data" else {"opts": {"input": value}}  # type: ignore[dict-item]
        return parse(206, json.dumps([op], ensure_ascii=False).encode())

    assert isinstance(answer(limit).reply, Asked)
    error, retryable = threw(answer(limit + 2))
    assert ("StepOutputTooLarge", False) == (error["name"], retryable)
    assert f'the {kind} of step "big" has {limit + 2} bytes; the limit is {limit} bytes (4 MiB)' == error["message"]


@pytest.mark.parametrize(
    ("op", "sentence"),
    [
        ({"op": "StepRun", "id": "x" * 65}, 'an op "StepRun" has no id of 1 to 64 characters'),
        (
            {"op": "WaitForEvent", "id": "h", "name": "w", "opts": {"event": "x" * 256}},
            'wait "w": the event name must have 1 to 255 characters',
        ),
        (
            {"op": "WaitForSignal", "id": "h", "name": "w", "opts": {"signal": "x" * 1_025}},
            'wait for signal "w": the signal must have 1 to 1024 characters',
        ),
    ],
)
def test_a_name_that_is_too_long_is_told_with_the_limit(op: dict[str, Any], sentence: str) -> None:
    error, retryable = threw(parse(206, [op]))
    assert ("InvalidAnswer", True) == (error["name"], retryable)
    assert sentence in error["message"]


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (
            {
                "op": "InvokeFunction",
                "id": "h",
                "opts": {"function_id": "f", "payload": {"data": {"x": "y" * 4_200_000}}},
            },
            "StepOutputTooLarge",
        ),
        ({"op": "WaitForEvent", "id": "h", "opts": {"event": "a", "if": "1" * 32_769}}, "InvalidExpression"),
        ({"op": "WaitForEvent", "id": "h", "opts": {"event": "a", "timeout": "367d"}}, "InngestErrTimeoutTooLong"),
    ],
)
def test_what_is_waited_for_has_limits_too(op: dict[str, Any], name: str) -> None:
    error, retryable = threw(parse(206, [op]))
    assert (name, False) == (error["name"], retryable)


# Failures of functions, and of the way to them.


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


@pytest.mark.parametrize(
    "exchange", list(exchanges("call")), ids=lambda call: f"{call.source}-{call.label}-{call.status}"
)
def test_every_recorded_answer_means_something(exchange: Exchange) -> None:
    # When
    parsed = parse_reply(
        exchange.status, exchange.headers, exchange.answer_body, target=exchange.target, attempt=0, now=NOW
    )

    # Then
    assert 2 == parsed.request_version
    assert parsed.sdk in ("inngest-py:v0.5.19", "inngest-js:v4.24.0")
    match parsed.reply:
        case Returned(output=output):
            answer = exchange.answer if exchange.status == 200 else exchange.answer[-1]["data"]
            assert answer == json.loads(output)
        case Threw() as failed:
            assert exchange.status in (400, 500)
            assert exchange.answer.items() <= json.loads(failed.error).items()
            assert failed.retryable is (exchange.headers.get("x-inngest-no-retry") != "true")
        case Asked(ops=ops):
            assert [op["id"] for op in exchange.answer] == [op.id for op in ops]
            kinds = {"StepPlanned": "StepRun", "StepError": "StepRun", "StepFailed": "StepRun"}
            assert [kinds.get(op["op"], op["op"]) for op in exchange.answer] == [op.op for op in ops]
            assert all(
                op["op"] not in OPS for op, got in zip(exchange.answer, ops, strict=True) if type(got) is Unserved
            )


# Hostile answers.

_OP = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from([*OPS, "RunComplete", "Brew"]) | st.integers(),
        "id": st.text(max_size=3) | st.none(),
        "name": st.sampled_from(["1s", "2026-12-24", "400d", "99999999999w", ""]) | st.text() | st.none(),
        "opts": st.dictionaries(st.sampled_from(["input", "duration", "parallelMode"]), st.text() | st.none())
        | st.none(),
        "data": st.recursive(st.none() | st.text() | st.floats(), st.lists) | st.just({"data": 1}),
        "error": st.dictionaries(st.sampled_from(["name", "message", "stack", "x"]), st.text() | st.none()) | st.text(),
        "timing": st.dictionaries(st.sampled_from("ab"), st.integers() | st.floats()),
    },
)
_WRAPPED = st.fixed_dictionaries(
    {"status": st.integers()}, optional={"body": st.lists(_OP) | st.text(), "headers": st.none()}
)
_HEADERS = st.dictionaries(
    st.sampled_from(["x-inngest-sdk", "x-inngest-no-retry", "retry-after", "x-inngest-req-version"]), st.text()
)


@given(
    st.sampled_from([200, 201, 206, 400, 401, 500, 204]),
    _HEADERS,
    (st.lists(_OP) | _OP | _WRAPPED).map(lambda value: json.dumps(value).encode()) | st.binary(),
)
def test_no_answer_raises(status: int, headers: dict[str, str], body: bytes) -> None:
    for sdk in ({}, SDK):
        check_sound(parse_reply(status, {**headers, **sdk}, body, target=None, attempt=0, now=NOW))


def test_no_mutation_of_a_recorded_answer_raises() -> None:
    chance = random.Random(7)
    answers = [(call.status, call.headers, call.answer_body[:2000]) for call in exchanges("call")]
    for _ in range(10_000):
        status, headers, body = chance.choice(answers)
        mutated = bytearray(body)
        for _ in range(chance.randint(1, 4)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        status = chance.choice((status, 200, 201, 206, 500))
        check_sound(parse_reply(status, headers, bytes(mutated), target="t", attempt=0, now=NOW))


def check_sound(parsed: Parsed) -> None:
    """All that is kept is JSON that a strict reader takes, and can be stored as UTF-8."""
    reply = parsed.reply
    texts = list[str | None]()
    match reply:
        case Returned():
            texts += [reply.output, *(op.output for op in reply.ops if isinstance(op, StepDone))]
        case Threw():
            texts.append(reply.error)
        case Asked():
            for op in reply.ops:
                texts += [getattr(op, name, None) for name in ("output", "error", "input")]
                assert op.id
                assert "\0" not in op.id + op.name
                (op.id + op.name).encode()
    for text in texts:
        if text is not None:
            json.loads(text.encode(), parse_constant=pytest.fail)


def test_a_failure_under_the_id_of_the_end_is_the_functions_own_and_keeps_what_came_with_it() -> None:
    step = {"op": "StepRun", "id": "h", "data": 1}
    failure = {"op": "StepError", "id": COMPLETE_ID, "error": {"name": "E", "message": "m"}}

    again = parse(206, [step, failure]).reply
    never = parse(206, [failure | {"op": "StepFailed"}]).reply

    assert isinstance(again, Threw)
    assert isinstance(never, Threw)
    assert ((True, ["h"]), (False, [])) == tuple((it.retryable, [op.id for op in it.ops]) for it in (again, never))


def test_a_step_that_is_called_by_itself_fails_as_itself_whatever_its_id() -> None:
    body = json.dumps([{"op": "StepFailed", "id": COMPLETE_ID, "error": {"name": "E", "message": "m"}}]).encode()

    reply = parse_reply(206, {"x-inngest-sdk": "js:v4.24.0"}, body, target=COMPLETE_ID, attempt=0, now=NOW).reply

    assert isinstance(reply, Asked)


def test_an_app_may_ask_to_be_called_again() -> None:
    assert (DiscoveryAsked("d", "d", "DiscoveryRequest"),) == asked({"op": "DiscoveryRequest", "id": "d"})


def test_what_is_deferred_names_a_function_and_has_data() -> None:
    opts = {"fn_slug": "app-later", "input": {"n": 1.0}}

    [op] = asked({"op": "DeferAdd", "id": "h", "displayName": "later", "opts": opts})

    assert DeferAsked("h", "later", "DeferAdd", "app-later", '{"n": 1.0}') == op


@pytest.mark.parametrize(
    "opts", [{}, {"fn_slug": ""}, {"fn_slug": "f", "input": [1]}, {"fn_slug": "f", "input": {"a": "x" * (4 << 20)}}]
)
def test_what_cannot_be_deferred_is_left_out_and_fails_nothing(opts: object) -> None:
    assert () == asked({"op": "DeferAdd", "id": "h", "opts": opts})


def test_what_is_deferred_may_have_no_data() -> None:
    [op] = asked({"op": "DeferAdd", "id": "h", "opts": {"fn_slug": "f", "input": None}})

    assert isinstance(op, DeferAsked)
    assert "{}" == op.data


@pytest.mark.parametrize(
    ("opts", "targets"), [({"target_hashed_id": "x"}, ["x"]), ({}, []), ({"target_hashed_id": 1}, [])]
)
def test_what_is_dropped_is_named_by_its_own_id(opts: object, targets: list[str]) -> None:
    assert targets == [op.target for op in asked({"op": "DeferAbort", "id": "h", "opts": opts})]
