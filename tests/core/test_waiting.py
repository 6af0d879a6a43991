"""Why a run waits, in sentences."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestrator.core.effect import Status, StepStatus
from orchestrator.core.waiting import (
    REQUESTS,
    UNREACHABLE,
    Call,
    EventWait,
    Facts,
    Failure,
    Seen,
    SlotWait,
    Step,
    Throttled,
    reasons,
    sentence,
)
from orchestrator.protocol import gateway, run_errors

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=1)
RUNNING = Facts(Status.RUNNING, NOW)
QUEUED = Facts(Status.QUEUED, NOW)
SLOT = SlotWait("event.data.user", "ann", "fn", False, 2, 2, 3, ["A", "B"])


def told(facts: Facts) -> str | None:
    return sentence(reasons(facts))


def test_a_run_that_is_over_or_at_work_waits_for_nothing():
    assert None is told(RUNNING)
    assert None is told(replace(RUNNING, status=Status.COMPLETED, calls=[Call(None, True, NOW - timedelta(hours=1))]))


def test_a_queued_run_has_not_begun():
    assert "its first call has not begun yet" == told(QUEUED)
    assert "its event is dated 2026-01-01T12:01:00.000Z, and it starts then" == told(replace(QUEUED, event_at=SOON))


def test_a_missing_slot_is_told_with_its_key_and_those_who_have_it():
    one = replace(SLOT, key=None, value="", limit=1, used=1, waiting=1, run_ids=["A"])
    many = replace(SLOT, scope="env", limit=9, used=9)

    assert (
        'it waits for a slot: 2 of 2 calls with event.data.user = "ann" are at work (run A, B), and 2 more wait'
        == told(replace(QUEUED, calls=[Call(None, False, NOW, SLOT)]))
    )
    assert "it waits for a slot: 1 of 1 calls are at work (run A)" == told(
        replace(QUEUED, calls=[Call(None, False, NOW, one)])
    )
    assert (
        'step "pay" waits for a slot: 9 of 9 calls of all functions with event.data.user = "ann" are at work '
        "(run A, B and 7 more), and 2 more wait"
    ) == told(
        replace(RUNNING, steps=[Step("s", "pay", "StepRun", StepStatus.PLANNED)], calls=[Call("s", False, NOW, many)])
    )


def test_programs_get_the_same_as_fields():
    [reason] = reasons(replace(QUEUED, calls=[Call(None, False, NOW, SLOT)]))

    assert "slot" == reason.kind
    assert {
        "limit": 2,
        "used": 2,
        "waiting": 3,
        "value": "ann",
        "run_ids": ["A", "B"],
    }.items() <= reason.details.items()


def test_a_call_that_nobody_takes_asks_for_workers():
    ready = [Call(None, True, NOW - timedelta(seconds=9))]

    assert (told(replace(QUEUED, calls=ready)) or "").startswith(
        "its call is ready since 2026-01-01T11:59:51.000Z and no worker has taken it"
    )
    assert None is told(replace(RUNNING, calls=[Call(None, True, NOW)]))


def test_an_app_that_is_away_is_told_with_the_time_since_when():
    away = {"name": UNREACHABLE, "message": "connection refused"}
    at = [NOW - timedelta(minutes=minutes) for minutes in (9, 5, 1)]
    failures = [
        Failure(None, 0, at[0], None, {"name": "Other"}),
        Failure(None, 1, at[1], None, away),
        Failure(None, 2, at[2], SOON, away),
    ]

    [reason] = reasons(replace(RUNNING, failures=failures, app_url="http://app"))

    assert (
        "the function failed (attempt 3) and is tried again at 2026-01-01T12:01:00.000Z; "
        "the app could not be reached since 2026-01-01T11:55:00.000Z"
    ) == reason.sentence
    assert ("app unreachable", "http://app", away) == (reason.kind, reason.details["url"], reason.details["error"])
    assert run_errors.APP_UNREACHABLE == UNREACHABLE


WAIT = Step("w", "paid", "WaitForEvent", StepStatus.WAITING)


def waits(expression: str | None, *data: object) -> str:
    last = [Seen(f"E{at}", NOW, json.dumps({"name": "shop/paid", "data": it})) for at, it in enumerate(data)]
    event = json.dumps({"data": {"order": 7}})
    found = told(
        replace(RUNNING, steps=[WAIT], event=event, event_waits=[EventWait("w", "shop/paid", expression, SOON, last)])
    )
    return found or ""


def test_a_wait_tells_its_event_its_condition_and_why_the_last_one_did_not_match():
    assert 'step "paid" waits for the event shop/paid until 2026-01-01T12:01:00.000Z' == waits(None)
    assert waits("event.data.order == async.data.order", {"order": 8}, {}).endswith(
        "where event.data.order == async.data.order; the last one, E0, did not match: async.data.order is 8, not 7"
    )
    assert waits("async.data.n > 3", {"n": 1}).endswith("did not match: the condition is false")
    assert waits('async.data.s == "x"', {}).endswith('async.data.s is null, not "x"')


def test_three_of_many_reasons_are_told():
    steps = [replace(WAIT, id=str(at), name=f"s{at}") for at in range(5)]

    assert (told(replace(RUNNING, steps=steps)) or "").endswith(
        'step "s2" waits to be resumed (WaitForEvent); and 2 more'
    )


def test_a_run_that_a_pause_or_a_throttle_holds_says_so():
    paused = replace(QUEUED, paused_at=NOW)
    third = replace(QUEUED, throttled=Throttled(2, SOON))
    first = replace(QUEUED, throttled=Throttled(0, None))

    assert "its function is paused since 2026-01-01T12:00:00.000Z, and it begins when that is resumed" == told(paused)
    assert None is told(replace(paused, status=Status.RUNNING)), "what has begun goes on"
    assert "a throttle holds it: 2 runs stand before it, and the next may begin at 2026-01-01T12:01:00.000Z" == told(
        third
    )
    assert "a throttle holds it: no run stands before it" == told(first)


def test_a_celery_task_is_told_unless_it_waits_for_a_slot():
    facts = replace(RUNNING, steps=[Step("s", "pay", "x", StepStatus.PLANNED, task="shop.pay")])

    assert 'step "pay" waits for the Celery task shop.pay' == told(facts)
    assert "Celery" not in (told(replace(facts, calls=[Call("s", False, NOW, SLOT)])) or "")


def test_a_request_that_the_server_makes_is_told():
    step = Step("s", "ask", gateway.AI, StepStatus.PLANNED)

    assert 'step "ask" waits for the answer to a request (AIGateway)' == told(replace(RUNNING, steps=[step]))
    assert {gateway.FETCH, gateway.AI} == REQUESTS
