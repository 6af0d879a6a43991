"""What a registration says of one function: every option, its forms and its limits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.core.function import (
    Batch,
    Cancel,
    Concurrency,
    Debounce,
    Function,
    RateLimit,
    Singleton,
    Throttle,
    Timeouts,
    Trigger,
)
from orchestrator.errors import ExpressionError
from tests.protocol.registrations import MINIMAL, STEP, read, refusal, register


def test_a_function_says_what_it_is() -> None:
    function = read(steps={"step": {**STEP, "retries": {"attempts": 2}}})
    url = "http://a:1/api?fnId=shop-f&stepId=step"
    assert Function("shop-f", "F", url, (Trigger(event="shop/order"),), retries=2) == function
    assert 3 == function.max_attempts


def test_every_option_is_taken() -> None:
    function = read(
        triggers=[
            {"event": "shop/*", "expression": "event.data.n > 1"},
            {"cron": "TZ=Europe/Paris 0 9 * * MON-FRI", "jitter": "30s"},
        ],
        concurrency=[{"limit": 5}, {"limit": 2, "key": "event.data.id", "scope": "env"}],
        throttle={"limit": 3, "period": "60s", "burst": 2, "key": "event.data.id"},
        rateLimit={"limit": 10, "period": "1m", "key": "event.data.id"},
        debounce={"period": "10s", "timeout": "2m", "key": "event.data.id"},
        priority={"run": "event.data.p"},
        cancel=[{"event": "shop/stop", "if": "event.data.id == async.data.id", "timeout": "1h"}],
        singleton={"mode": "cancel", "key": "event.data.id"},
        timeouts={"start": "30s", "finish": "5m"},
    )
    minute, key = timedelta(minutes=1), "event.data.id"
    assert (
        Trigger(event="shop/*", expression="event.data.n > 1"),
        Trigger(cron="TZ=Europe/Paris 0 9 * * MON-FRI", jitter=minute / 2),
    ) == function.triggers
    assert (Concurrency(5), Concurrency(2, key, "env")) == function.concurrency
    assert Throttle(3, minute, 2, key) == function.throttle
    assert RateLimit(10, minute, key) == function.rate_limit
    assert Debounce(minute / 6, 2 * minute, key) == function.debounce
    assert "event.data.p" == function.priority
    assert (Cancel("shop/stop", "event.data.id == async.data.id", 60 * minute),) == function.cancels
    assert Singleton("cancel", key) == function.singleton
    assert Timeouts(minute / 2, 5 * minute) == function.timeouts


def test_a_batch_has_sensible_defaults() -> None:
    batch = {"maxSize": 3, "timeout": "5s", "key": "event.data.id", "if": "event.data.ok"}
    expected = Batch(3, timedelta(seconds=5), "event.data.id", "event.data.ok")
    assert expected == read(batchEvents=batch, cancel=[], concurrency=[]).batch
    assert Batch(3, timedelta(minutes=1)) == read(batchEvents={"maxSize": 3}).batch


def test_idempotency_takes_the_place_of_a_rate_limit() -> None:
    function = read(idempotency="event.data.id", rateLimit={"limit": 1, "period": "1m"})
    assert ("event.data.id", None) == (function.idempotency, function.rate_limit)


@pytest.mark.parametrize(
    ("concurrency", "expected"),
    [
        (5, (Concurrency(5),)),
        (0, ()),
        ([], ()),
        ({"limit": 5}, (Concurrency(5),)),
        ([{"limit": 0, "key": "event.data.a"}, 7], (Concurrency(7),)),
        (
            {"fn": [{"limit": 1, "key": "event.data.a"}], "step": [{"limit": 2}, {"limit": 3}]},
            (Concurrency(1, "event.data.a", whole_run=True), Concurrency(2), Concurrency(3)),
        ),
        ({"fn": 4}, (Concurrency(4, whole_run=True),)),
    ],
)
def test_concurrency_has_many_forms(concurrency: object, expected: tuple[Concurrency, ...]) -> None:
    assert expected == read(concurrency=concurrency).concurrency


def test_nothing_may_be_written_as_null_or_as_an_empty_text() -> None:
    options = ("cancel", "concurrency", "debounce", "idempotency", "priority", "rateLimit", "throttle", "timeouts")
    assert read() == read(**dict.fromkeys((*options, "singleton", "batchEvents", "retries")))
    assert read() == read(idempotency="", timeouts={"start": ""}, triggers=[{"event": "shop/order", "expression": ""}])


def test_ids_and_names_stand_in_for_each_other() -> None:
    assert "shop-f" == read(name=None).name
    assert ("my-great-function", "My  great function!") == (
        (function := read(id=None, name="My  great function!")).slug,
        function.name,
    )


def test_retries_may_stand_at_the_top() -> None:
    assert 7 == read(retries=7).retries
    assert 4 == read().retries


NOT_WITH_BATCHES: dict[str, object] = {
    "cancel": [{"event": "a"}],
    "debounce": {"period": "1s"},
    "singleton": {"mode": "skip"},
    "priority": {"run": "1"},
    "rateLimit": {"limit": 1, "period": "1m"},
    "idempotency": "event.id",
}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"debounce": {"period": "0s"}}, 'debounce.period must be between 100ms and 30d, got "0s"'),
        ({"debounce": {"period": "soon"}}, 'debounce.period must be a duration between 100ms and 30d, got "soon"'),
        ({"debounce": {}}, "debounce.period is missing: it must be a duration between 100ms and 30d"),
        ({"debounce": "5s"}, 'debounce must be an object, got "5s"'),
        ({"rateLimit": {"limit": 1, "period": "32d"}}, 'rateLimit.period must be between 1s and 31d, got "32d"'),
        (
            {"rateLimit": {"limit": 0, "period": "1m"}},
            "rateLimit.limit must be a whole number between 1 and 1000000000, got 0",
        ),
        (
            {"throttle": {"limit": True, "period": "1m"}},
            "throttle.limit must be a whole number between 1 and 1000000000, got true",
        ),
        ({"batchEvents": {"maxSize": 1}}, "batchEvents.maxSize must be a whole number between 2 and 1000, got 1"),
        ({"batchEvents": {"maxSize": 2, "timeout": "1h"}}, 'batchEvents.timeout must be between 1s and 10m, got "1h"'),
        *(
            ({"batchEvents": {"maxSize": 2}, name: option}, f"batchEvents cannot be combined with {name}")
            for name, option in NOT_WITH_BATCHES.items()
        ),
        ({"singleton": {"mode": "wait"}}, 'singleton.mode must be "skip" or "cancel", got "wait"'),
        ({"timeouts": {"finish": "367d"}}, 'timeouts.finish must be between 1ms and 366d, got "367d"'),
        ({"concurrency": -1}, "concurrency must be a whole number between 0 and 1000000000, got -1"),
        (
            {"concurrency": [{"limit": 1, "scope": "x"}]},
            'concurrency[0].scope must be "fn", "env" or "account", got "x"',
        ),
        (
            {"concurrency": [{"limit": 1, "scope": "env"}]},
            'concurrency[0].key is missing: it must be an expression where the scope is "env"',
        ),
        ({"concurrency": [1] * 9}, "concurrency must have at most 8 entries, got 9"),
        ({"concurrency": {"fn": [1, 2]}}, "concurrency.fn must have at most 1 entries, got 2"),
        ({"triggers": [{"event": f"a/{n}"} for n in range(51)]}, "triggers must have at most 50 entries, got 51"),
        ({"triggers": [{"event": "a"}, {"event": "a"}]}, "triggers[1] is there twice"),
        ({"triggers": [{"cron": "* * * * *"}, {"cron": "* * * * *", "jitter": "1s"}]}, "triggers[1] is there twice"),
        ({"triggers": [{}]}, "triggers[0] must have either an event or a cron"),
        ({"triggers": [{"event": "a", "cron": "* * * * *"}]}, "triggers[0] must have either an event or a cron"),
        ({"triggers": [{"event": "x" * 256}]}, "triggers[0].event must be a text of 1 to 255 characters"),
        ({"triggers": [{"event": "a*"}]}, 'triggers[0].event must be a name with no "*" but one at its end'),
        ({"triggers": [{"event": "a/*/b"}]}, 'triggers[0].event must be a name with no "*" but one at its end'),
        (
            {"triggers": [{"cron": "* * * * *", "jitter": "6m"}]},
            'triggers[0].jitter must be between 1s and 5m, got "6m"',
        ),
        ({"triggers": "shop/order"}, 'triggers must be a list, got "shop/order"'),
        ({"cancel": [{"event": f"a/{n}"} for n in range(21)]}, "cancel must have at most 20 entries, got 21"),
        ({"cancel": [{}]}, "cancel[0].event is missing"),
        ({"steps": {}}, "steps must have exactly one entry, got 0"),
        ({"steps": {"a": STEP, "b": STEP}}, "steps must have exactly one entry, got 2"),
        ({"steps": None}, "steps is missing: it must be an object"),
        (
            {"steps": {"step": {"runtime": {"url": "x"}}}},
            "steps.step.runtime.url must be a URL that starts with http://",
        ),
        ({"retries": 101}, "retries must be a whole number between 0 and 100, got 101"),
        ({"triggers": [{"cron": "0 " * 200}]}, "triggers[0].cron must be a text of 1 to 255 characters"),
        ({"cancel": [{"event": "x" * 256}]}, "cancel[0].event must be a text of 1 to 255 characters"),
        ({"cancel": [{"event": "a", "timeout": "367d"}]}, "cancel[0].timeout must be between 1ms and 366d"),
        (
            {"triggers": [{"event": "a", "expression": "1" * 4_097}]},
            "triggers[0].expression must be a text of 1 to 4096 characters",
        ),
        (
            {"steps": {"step": {"runtime": {"url": "http://a/" + "x" * 2_048}}}},
            "steps.step.runtime.url must be a text of 1 to 2048 characters",
        ),
        ({"timeouts": {"start": "0s"}}, 'timeouts.start must be between 1ms and 366d, got "0s"'),
        ({"idempotency": 7}, "idempotency must be a text of 1 to 4096 characters, got 7"),
    ],
)
def test_a_refusal_names_the_function_the_field_and_the_limit(config: dict[str, Any], sentence: str) -> None:
    message = refusal({**MINIMAL, **config})
    assert message.startswith('function "shop-f": ')
    assert message.removeprefix('function "shop-f": ').startswith(sentence)


@pytest.mark.parametrize(
    "cron",
    ["0 9 * * 1", "*/5 0-6,12 1 JAN-MAR MON", "CRON_TZ=UTC 0 0 * * *", "TZ=America/New_York  0 0 1 1 *", "0 0 30 2 *"],
)
def test_cron_lines_have_five_fields_and_perhaps_a_zone(cron: str) -> None:
    assert (Trigger(cron=cron),) == read(triggers=[{"cron": cron}]).triggers


@pytest.mark.parametrize(
    "cron",
    [
        "@daily",
        "@every 5m",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "x * * * *",
        "H * * * *",
        "R * * * *",
        "R(0-5) * * * *",
        "*/0 * * * *",
        "TZ=Mars/Base * * * * *",
        "TZ=../../etc/passwd * * * * *",
        "TZ= * * * * *",
        "TZ=Europe * * * * *",
        "0 " * 130,
    ],
)
def test_other_cron_lines_are_refused(cron: str) -> None:
    assert "triggers[0].cron must be " in refusal({**MINIMAL, "triggers": [{"cron": cron}]})


@pytest.mark.parametrize(
    "config",
    [
        {"triggers": [{"event": "a", "expression": "event.data ="}]},
        {"concurrency": [{"limit": 1, "key": "event.("}]},
        {"throttle": {"limit": 1, "period": "1m", "key": "("}},
        {"priority": {"run": "1 +"}},
        {"idempotency": "event..id"},
        {"cancel": [{"event": "a", "if": "event.data.list.all(x, x > 1)"}]},
    ],
)
def test_expressions_must_compile_and_those_of_cancels_be_simple(config: dict[str, Any]) -> None:
    with pytest.raises(ExpressionError, match=r'^function "shop-f": .* is no expression we can use: '):
        register({**MINIMAL, **config})
