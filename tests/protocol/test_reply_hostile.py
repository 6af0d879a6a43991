"""Answers that were recorded, and answers that nobody should send."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.message import Asked, Returned, StepDone, Threw, Unserved
from orchestrator.protocol.ops import OPS
from orchestrator.protocol.reply import Parsed, parse_reply
from tests.protocol.recorded import Exchange, exchanges
from tests.protocol.replies import NOW, SDK


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
