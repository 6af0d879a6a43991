"""What we send is what the official SDKs accept, and says what the server they were made for says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from inngest._internal.server_lib import ServerRequest

from orchestrator.protocol.request import (
    MAX_INLINE_STATE,
    State,
    request_body,
    request_headers,
    request_url,
    state_size,
)
from tests.protocol.recorded import Exchange, exchanges

EVENT = '{"data":{"n":12345678901234567890},"id":"e1","name":"shop/order","ts":1795178377483,"user":{}}'


MEMO = {"b": '{"data":1.0}', "a": "null"}


def body(*, events: Sequence[str] = (EVENT,), memo: Mapping[str, str] = MEMO, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "run_id": "01M7WFGCG2SH4RRN51Z1J83WC8",
        "attempt": 1,
        "max_attempts": 5,
        "current": 2,
        "plan_only": False,
        "request_version": -1,
        "job_id": "j1",
        "generation": 3,
        "use_api": False,
    }
    return request_body(State.of(events, memo), **{**arguments, **changes})


def test_events_and_memos_are_sent_as_they_were_stored() -> None:
    text = body()
    assert f'"event":{EVENT},"events":[{EVENT}]' in text
    assert '"steps":{"b":{"data":1.0},"a":null}' in text


def test_the_stack_holds_the_memos_in_the_order_of_their_storing() -> None:
    context = json.loads(body())["ctx"]
    assert {"stack": ["b", "a"], "current": 2} == context["stack"]


def test_ids_that_would_switch_checkpointing_on_are_sent_with_an_invitation_only() -> None:
    context = json.loads(body())["ctx"]
    assert set() == {"fn_id", "qi_id"} & context.keys()

    invited = json.loads(body(checkpoints=("f1", "7-3")))["ctx"]
    assert {"fn_id": "f1", "qi_id": "7-3", **context} == invited


def test_ids_are_escaped() -> None:
    step = 'a"\\\n\u2028é'
    sent = json.loads(body(memo={step: "1"}, run_id=step, job_id=step))
    assert {step: 1} == sent["steps"]
    assert (step, step) == (sent["ctx"]["run_id"], sent["ctx"]["job_id"])


def test_a_state_too_large_is_announced_in_both_places() -> None:
    sent = json.loads(body(use_api=True))
    assert (True, True, {}, []) == (sent["use_api"], sent["ctx"]["use_api"], sent["steps"], sent["events"])
    assert "e1" == sent["event"]["id"]
    assert ["b", "a"] == sent["ctx"]["stack"]["stack"]


@pytest.mark.parametrize("use_api", [True, False])
def test_the_official_python_sdk_takes_our_requests(use_api: bool) -> None:
    request = ServerRequest.from_raw(json.loads(body(use_api=use_api, plan_only=True)))
    assert isinstance(request, ServerRequest)
    assert request.use_api is use_api
    assert request.ctx.disable_immediate_execution


def recorded_requests() -> list[Exchange]:
    return [exchange for exchange in exchanges("call") if exchange.request is not None]


@pytest.mark.parametrize("exchange", recorded_requests(), ids=lambda call: f"{call.source}-{call.label}")
def test_a_recorded_request_is_written_as_it_was(exchange: Exchange) -> None:
    # Given what the other server knew
    recorded = exchange.request
    context, headers = recorded["ctx"], exchange.request_headers
    large = recorded["use_api"]
    stack = context["stack"]["stack"]

    # When we write the same call
    events = [json.dumps(event) for event in recorded["events"] or [recorded["event"]]]
    memo = {step: json.dumps(recorded["steps"].get(step)) for step in stack}
    ours = json.loads(
        request_body(
            State.of(events, memo),
            run_id=context["run_id"],
            attempt=context["attempt"],
            max_attempts=context["max_attempts"],
            current=context["stack"]["current"],
            plan_only=context["disable_immediate_execution"],
            request_version=recorded["version"],
            job_id=context["job_id"],
            generation=context["generation_id"],
            use_api=large,
        )
    )

    # Then it differs only in what we leave out on purpose
    left_out = {"fn_id", "qi_id", "request_id"}
    kept = {key: value for key, value in context.items() if key not in left_out}
    assert kept == ours.pop("ctx")
    sent = [] if large else recorded["events"]
    assert {**{key: recorded[key] for key in recorded if key != "ctx"}, "events": sent} == ours
    ours_headers = request_headers(
        run_id=context["run_id"],
        target=exchange.target,
        request_version=recorded["version"],
        job_id=context["job_id"],
        generation=context["generation_id"],
        request_id=context["request_id"],
    )
    assert headers == ours_headers


def test_headers_without_a_generation_name_none() -> None:
    headers = request_headers(
        run_id="r", target=None, request_version=-1, job_id="j", generation=0, signature="t=1&s=ab"
    )
    assert "x-inngest-generation-id" not in headers
    assert ("step", "-1", "t=1&s=ab") == (
        headers["x-inngest-step-id"],
        headers["x-inngest-req-version"],
        headers["x-inngest-signature"],
    )


@pytest.mark.parametrize(
    ("url", "target", "expected"),
    [
        ("http://a/api?fnId=x-y&stepId=step", None, "http://a/api?fnId=x-y&stepId=step"),
        ("http://a/api?fnId=x%2Dy&stepId=step&z=1", "abc", "http://a/api?fnId=x%2Dy&z=1&stepId=abc"),
        ("http://a/api", "a b&c", "http://a/api?stepId=a%20b%26c"),
        ("http://a/api?", None, "http://a/api?stepId=step"),
        ("http://a/api?x=?#top", None, "http://a/api?x=?&stepId=step#top"),
    ],
)
def test_the_step_goes_into_the_query_and_the_rest_stays(url: str, target: str | None, expected: str) -> None:
    assert expected == request_url(url, target)


def test_the_size_of_the_state_is_the_bytes_it_adds_to_the_body() -> None:
    events, memo = ['{"a":"é"}', "{}"], {"id": '{"data":"ü"}', "b": "null"}
    grown = len(body(events=events, memo=memo).encode()) - len(body(events=["{}"], memo={}).encode())
    assert state_size(events, memo) <= grown
    assert 4 * 1024 * 1024 - 1024 == MAX_INLINE_STATE


def test_a_call_says_what_is_deferred_and_whether_it_can_be_dropped() -> None:
    assert {} == json.loads(body())["defers"]
    assert {"a": {"abortable": True}, "b": {"abortable": False}} == json.loads(body(defers={"a": True, "b": False}))[
        "defers"
    ]
