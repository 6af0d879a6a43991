"""Checkpoints: who sends them, and what they may hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from orchestrator.errors import RequestError
from orchestrator.protocol.checkpoint import Dispatch, dispatch_text, read_checkpoint, sends_checkpoints

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEP = {"op": "StepRun", "id": "a", "displayName": "first", "data": {"n": 1.0}, "mode": "sync"}


def body(*steps: object, qi_id: str = "7-3") -> bytes:
    return json.dumps({"qi_id": qi_id, "run_id": "r", "steps": steps}).encode()


@pytest.mark.parametrize(
    ("language", "version", "sends"),
    [
        ("js", "4.24.0", True),
        ("js", "10.0.0", True),
        ("js", "4", True),
        ("js", "3.52.1", False),
        ("js", "nonsense", False),
        ("js", None, False),
        ("py", "4.0.0", False),
        (None, None, False),
    ],
)
def test_the_typescript_sdk_sends_checkpoints_from_version_4_on(
    language: str | None, version: str | None, sends: bool
) -> None:
    assert sends is sends_checkpoints(language, version)


def test_a_checkpoint_names_the_dispatch_that_its_call_came_with() -> None:
    dispatch = Dispatch(12345678901, 3)

    assert dispatch == read_checkpoint(body(qi_id=dispatch_text(dispatch)), NOW).dispatch


def test_outputs_stay_the_text_they_came_as_and_a_step_that_begins_is_left_out() -> None:
    found = read_checkpoint(body(STEP, STEP | {"op": "StepPlanned", "id": "b"}), NOW)

    assert [("a", "first", '{"n": 1.0}')] == [(step.id, step.name, step.output) for step in found.steps]


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        body(STEP).replace(b"1.0", b'"\xff"'),
        body(STEP).replace(b'"sync"', b"[" * 100_000),
        body(STEP).replace(b"1.0", b"[" * 100_000),
        body(qi_id="7"),
        body(qi_id="-7-3"),
        body(qi_id="9" * 30 + "-1"),
        body(STEP | {"id": ""}),
        body(STEP | {"op": "Sleep"}),
        body(STEP | {"op": "RunComplete"}),
        body(STEP | {"op": "StepError"}),
        body(*[STEP] * 1001),
        b'{"qi_id":"7-3","steps":[{"op":"Step","id":"a","data":{"x":}}]}',
    ],
)
def test_what_cannot_be_taken_whole_is_refused(wrong: bytes) -> None:
    with pytest.raises(RequestError):
        read_checkpoint(wrong, NOW)


def test_half_a_character_is_a_sign_for_one_as_in_an_answer() -> None:
    found = read_checkpoint(body(STEP | {"data": "fried \ud83d", "mode": "\udc00"}), NOW)

    assert ['"fried \\ufffd"'] == [step.output for step in found.steps]


def test_what_is_deferred_or_dropped_may_be_checkpointed() -> None:
    add = {"op": "DeferAdd", "id": "a", "opts": {"fn_slug": "f", "input": {}}}
    drop = {"op": "DeferAbort", "id": "b", "opts": {"target_hashed_id": "a"}}
    nonsense = {"op": "DeferAdd", "id": "c", "opts": {}}

    found = read_checkpoint(body(add, drop, nonsense), NOW)

    assert ["a", "b"] == [step.id for step in found.steps]
