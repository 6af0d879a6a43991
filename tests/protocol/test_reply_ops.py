"""What the ops of an answer mean, one by one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.core.message import (
    Asked,
    DeferAsked,
    DiscoveryAsked,
    Returned,
    SleepAsked,
    StepDone,
    StepErrored,
    StepPlanned,
    Threw,
    Unserved,
)
from orchestrator.protocol.ops import COMPLETE_ID
from orchestrator.protocol.reply import Parsed, parse_reply
from tests.protocol.replies import NOW, asked, parse, threw


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
