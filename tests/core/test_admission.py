"""What options ask of a start: keys as texts, and what becomes of those that have no value."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.core.admission import Asked, Keyed, Skip, asked, asks
from orchestrator.core.function import Batch, Debounce, Function, RateLimit, Singleton, Throttle

MINUTE = timedelta(minutes=1)
EVENT = {"name": "a/b", "data": {"id": 7, "vip": False, "n": 250}}


def a_function(**options: Any) -> Function:
    return Function("app-fn", "fn", "http://app", **options)


def of(invoked: bool = False, **options: Any) -> Asked:
    return asked(a_function(**options), EVENT, invoked=invoked)[0]


def test_a_function_without_options_asks_for_nothing() -> None:
    assert (False, Asked()) == (asks(a_function()), of())


@pytest.mark.parametrize(
    "options",
    [
        {"throttle": Throttle(1, MINUTE)},
        {"rate_limit": RateLimit(1, MINUTE)},
        {"debounce": Debounce(MINUTE)},
        {"batch": Batch(2, MINUTE)},
        {"singleton": Singleton("skip")},
        {"priority": "1"},
        {"idempotency": "event.data.id"},
    ],
)
def test_a_function_with_any_option_asks(options: dict[str, Any]) -> None:
    assert asks(a_function(**options))


def test_a_key_is_the_text_of_its_value() -> None:
    limit = RateLimit(1, MINUTE, "event.data.id")

    assert Keyed(limit, "7") == of(rate_limit=limit).rate


def test_an_option_whose_key_is_false_does_not_apply() -> None:
    key = "event.data.vip"

    found = of(
        rate_limit=RateLimit(1, MINUTE, key), singleton=Singleton("skip", key), throttle=Throttle(1, MINUTE, 0, key)
    )

    assert Asked() == found


def test_a_key_without_a_value_counts_as_empty_for_limits_and_lifts_the_others_with_a_warning() -> None:
    key = "int('x')"
    options = {
        "rate_limit": RateLimit(1, MINUTE, key),
        "throttle": Throttle(1, MINUTE, 0, key),
        "singleton": Singleton("skip", key),
        "debounce": Debounce(MINUTE, None, key),
    }

    found, warnings = asked(a_function(**options), EVENT)

    assert ("", "") == (found.rate.key if found.rate else None, found.throttle.key if found.throttle else None)
    assert (None, None) == (found.singleton, found.debounce)
    assert ["rateLimit", "debounce", "singleton", "throttle"] == [it.partition(" ")[0] for it in warnings]


def test_idempotency_is_a_rate_limit_of_one_a_day() -> None:
    found = of(idempotency="event.data.id")

    assert Keyed(RateLimit(1, timedelta(hours=24), "event.data.id"), "7") == found.rate
    assert Skip.IDEMPOTENCY is found.rate_is


@pytest.mark.parametrize(
    ("condition", "batched"), [(None, True), ("event.data.n > 1", True), ("event.data.vip", False)]
)
def test_only_events_that_satisfy_its_condition_are_batched(condition: str | None, batched: bool) -> None:
    assert batched == (of(batch=Batch(2, MINUTE, None, condition)).batch is not None)


def test_an_event_whose_condition_has_no_value_is_not_batched() -> None:
    found, warnings = asked(a_function(batch=Batch(2, MINUTE, None, "event.data.n")), EVENT)

    assert (None, 1) == (found.batch, len(warnings))


def test_an_invocation_is_neither_debounced_nor_batched_but_limited() -> None:
    found = of(invoked=True, debounce=Debounce(MINUTE), batch=Batch(2, MINUTE), rate_limit=RateLimit(1, MINUTE))

    assert (None, None, True) == (found.debounce, found.batch, found.rate is not None)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("event.data.n", 250),
        ("-7", -7),
        ("9000", 600),
        ("-9000", -600),
        ("'high'", 0),
        ("true", 0),
        ("event.nothing.x", 0),
    ],
)
def test_a_priority_is_a_whole_number_of_at_most_600(source: str, expected: int) -> None:
    assert expected == of(priority=source).priority


def test_what_waited_behind_the_first_options_is_not_asked_for_them_again() -> None:
    found = of(rate_limit=RateLimit(1, MINUTE), debounce=Debounce(MINUTE), throttle=Throttle(1, MINUTE)).as_fired()

    assert (None, None, True) == (found.rate, found.debounce, found.throttle is not None)
