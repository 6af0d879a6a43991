"""What a declaration means: the server reads it as it would read an app's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import orchestrator
from orchestrator.core import function as core
from orchestrator.errors import RequestError
from orchestrator.protocol.function_config import read_function
from orchestrator.sdk.function import Registry
from orchestrator.sdk.options import (
    Batch,
    Concurrency,
    Debounce,
    Options,
    RateLimit,
    Retry,
    Singleton,
    Throttle,
    Timeouts,
)
from orchestrator.sdk.triggers import Cancel, Cron, Event

MINUTE = timedelta(minutes=1)
KEY = "event.data.user"


def handler(ctx: Any) -> None:
    """Does nothing."""


def declared(on: Any = None, options: Options | None = None, **more: Any) -> core.Function:
    registry = Registry("shop")
    registry.add(handler, on or Event("a/b"), options=options or Options(), **more)
    first = next(iter(registry))
    return read_function(first.config(), "the function", ours=True)


def test_a_function_is_named_by_its_app_and_its_python_name():
    function = declared()

    assert ("shop-handler", "handler", "local://shop") == (function.slug, function.name, function.url)


def test_triggers_are_events_with_conditions_and_cron_lines():
    function = declared([Event("a/b", if_="event.data.n > 1"), Cron("TZ=Europe/Paris 0 9 * * MON", jitter=MINUTE)])

    assert (
        core.Trigger("a/b", "event.data.n > 1"),
        core.Trigger(cron="TZ=Europe/Paris 0 9 * * MON", jitter=MINUTE),
    ) == function.triggers


@pytest.mark.parametrize(
    ("options", "field", "expected"),
    [
        (Options(), "retries", 4),
        (Options(retries=0), "retries", 0),
        (Options(retries=Retry(times=7)), "retries", 7),
        (Options(concurrency=3), "concurrency", (core.Concurrency(3),)),
        (Options(concurrency=Concurrency(3, KEY, "env")), "concurrency", (core.Concurrency(3, KEY, "env"),)),
        (
            Options(concurrency=(Concurrency(1, whole_run=True), Concurrency(5, KEY))),
            "concurrency",
            (core.Concurrency(1, whole_run=True), core.Concurrency(5, KEY)),
        ),
        (Options(throttle=Throttle(5, MINUTE, 2, KEY)), "throttle", core.Throttle(5, MINUTE, 2, KEY)),
        (Options(rate_limit=RateLimit(5, MINUTE, KEY)), "rate_limit", core.RateLimit(5, MINUTE, KEY)),
        (Options(debounce=Debounce(MINUTE, KEY, 3 * MINUTE)), "debounce", core.Debounce(MINUTE, 3 * MINUTE, KEY)),
        (Options(batch=Batch(10, MINUTE, KEY)), "batch", core.Batch(10, MINUTE, KEY)),
        (Options(priority="event.data.n"), "priority", "event.data.n"),
        (Options(singleton=Singleton("cancel", KEY)), "singleton", core.Singleton("cancel", KEY)),
        (Options(timeouts=Timeouts(MINUTE, 2 * MINUTE)), "timeouts", core.Timeouts(MINUTE, 2 * MINUTE)),
        (Options(idempotency=KEY), "idempotency", KEY),
    ],
)
def test_each_option_arrives_as_it_was_meant(options: Options, field: str, expected: object):
    assert expected == getattr(declared(options=options), field)


def test_a_cancelling_event_compares_with_the_one_that_started_the_run():
    function = declared(cancel_on=Cancel(Event("gone", match="data.order", if_="async.data.n > 1"), within=MINUTE))

    condition = "event.data.order == async.data.order && (async.data.n > 1)"
    assert (core.Cancel("gone", condition, MINUTE),) == function.cancels


def test_a_failure_handler_is_a_function_of_its_own():
    registry = Registry("shop")
    registry.add(handler, Event("a/b"), on_failure=handler, options=Options())
    _, second = (read_function(it.config(), "the function", ours=True) for it in registry)

    trigger = core.Trigger("inngest/function.failed", 'event.data.function_id == "shop-handler"')
    assert ("shop-handler-failure", (trigger,)) == (second.slug, second.triggers)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: Registry("a shop"), "the app's name"),
        (lambda: declared(id="no/slash"), "the function's id"),
        (lambda: declared(Event("a/b", match="data.x")), "match compares two events, a trigger sees one"),
        (lambda: declared(cancel_on=Event("x", match="data.x or true")), 'is not a path like "data.orderId"'),
        (lambda: declared(Cron("every day")), "a cron line of five fields"),
        (lambda: declared(Event("a/b", if_="event.data.n >")), "is no expression we can use"),
        (lambda: declared(options=Options(retries=9999)), "a whole number between 0 and"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(wrong: Callable[[], object], sentence: str):
    with pytest.raises((ValueError, RequestError), match=sentence):
        wrong()


def test_a_function_declared_twice_is_refused_with_both_places():
    registry = Registry("shop")
    registry.add(handler, Event("a/b"), options=Options())

    with pytest.raises(ValueError, match=r'"shop-handler" is declared twice: by .*handler and .*handler'):
        registry.add(handler, Event("c/d"), options=Options())


def test_the_names_for_user_code_are_there_and_cost_nothing_until_used():
    assert set(orchestrator.__all__) <= set(dir(orchestrator))
    assert all(getattr(orchestrator, name) is not None for name in orchestrator.__all__)
    heavy = "{'flask', 'sqlalchemy', 'celery', 'kombu', 'alembic'}"
    use = "orchestrator.Context, orchestrator.Orchestrator"
    script = f"import orchestrator, sys; {use}('x'); print({heavy} & set(sys.modules))"

    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert "set()" == found.stdout.strip()


def test_retry_waits_grow_as_their_policy_says():
    second = timedelta(seconds=1)
    for backoff, expected in (("exponential", [1, 2, 4, 8, 10]), ("linear", [1, 2, 3, 4, 5]), ("constant", [1] * 5)):
        policy = Retry(9, backoff, second, 10 * second)  # type: ignore[arg-type]
        for attempt, most in enumerate(expected):
            assert 0.75 * most * second <= policy.wait(attempt) <= most * second
    assert Retry(9, first=second).wait(10_000) <= timedelta(hours=1)
