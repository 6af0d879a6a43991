"""What SDKs register is taken as they mean it, or refused with the function, the field and the limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from orchestrator.errors import ConflictError, ExpressionError, RequestError
from orchestrator.protocol.sync import (
    Registration,
    check_server_kind,
    error_answer,
    parse_registration,
    ping_body,
    registration_answer,
)
from tests.protocol.recorded import Exchange, exchanges

STEP = {"id": "step", "name": "step", "runtime": {"type": "http", "url": "http://a:1/api?fnId=shop-f&stepId=step"}}
MINIMAL = {"id": "shop-f", "name": "F", "triggers": [{"event": "shop/order"}], "steps": {"step": STEP}}


def register(*functions: Any, headers: Mapping[str, str] | None = None, **changes: Any) -> Registration:
    content = {"appName": "shop", "url": "http://a:1/api", "sdk": "js:v4.24.0", "functions": list(functions), **changes}
    return parse_registration(json.dumps(content).encode(), headers or {})


def read(**config: Any) -> Function:
    return register({**MINIMAL, **config}).functions[0]


def refusal(*functions: Any, **changes: Any) -> str:
    with pytest.raises(RequestError) as raised:
        register(*functions, **changes)
    return raised.value.message


# The app.


def test_the_app_tells_its_name_its_sdk_and_where_it_is() -> None:
    registration = register(MINIMAL, appVersion="7", framework="express", deployType="ping")
    assert ("shop", "http://a:1/api", "js", "4.24.0", "express", "7", "ping") == (
        registration.app_name,
        registration.url,
        registration.sdk_language,
        registration.sdk_version,
        registration.framework,
        registration.app_version,
        registration.deploy_type,
    )
    assert (json.dumps(MINIMAL),) == registration.configs


def test_what_the_body_leaves_out_comes_from_the_headers() -> None:
    headers = {"x-inngest-sdk": "inngest-py:v0.5.19", "x-inngest-framework": "flask"}
    registration = register(sdk=None, headers=headers)
    assert ("py", "0.5.19", "flask", None, "ping") == (
        registration.sdk_language,
        registration.sdk_version,
        registration.framework,
        registration.app_version,
        registration.deploy_type,
    )


@pytest.mark.parametrize("key", ["appName", "appname", "APPNAME", "app_name"])
def test_keys_may_be_spelled_in_any_way(key: str) -> None:
    body = {key: "shop", "URL": "http://a", "Functions": [MINIMAL], "deploy_type": "pong"}
    registration = parse_registration(json.dumps(body).encode(), {})
    assert ("shop", "pong", 1) == (registration.app_name, registration.deploy_type, len(registration.configs))


def test_an_in_band_answer_is_a_registration_too() -> None:
    body = {
        "app_id": "shop",
        "url": "http://a",
        "sdk_language": "py",
        "sdk_version": "0.5.19",
        "functions": [MINIMAL],
        "env": None,
        "inspection": {"app_id": "x"},
    }
    registration = parse_registration(json.dumps(body).encode(), {})
    assert ("shop", "py", "0.5.19") == (registration.app_name, registration.sdk_language, registration.sdk_version)


def test_an_app_may_have_no_functions() -> None:
    for functions in ([], None):
        assert () == register(functions=functions).functions


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/api/inngest", "https://a.example/api/inngest"),
        ("http://a/x?deployId=1&b=%20&probe=trust&c", "http://a/x?b=%20&c"),
        ("http://a/x?deployId=1", "http://a/x"),
        ("ws://[::1]:80/", "ws://[::1]:80/"),
    ],
)
def test_an_address_is_kept_but_for_what_belongs_to_syncing(url: str, expected: str) -> None:
    assert expected == register(url=url).url


@pytest.mark.parametrize(
    "url", ["", "ftp://a", "http://", "a/b", "http://a b/", "http://[::1", "http://a:99999", "http://a\n", 7, None]
)
def test_other_addresses_are_refused(url: object) -> None:
    assert refusal(url=url).startswith("the registration: url ")


def test_the_checksum_tells_whether_anything_changed() -> None:
    first = register(MINIMAL, featureObservations={"a": 1})
    assert first.checksum == register(MINIMAL, featureObservations={"b": 2}).checksum
    assert first.checksum == register(dict(reversed(MINIMAL.items()))).checksum
    assert first.checksum != register({**MINIMAL, "name": "G"}).checksum
    assert first.checksum != register(MINIMAL, capabilities={"connect": "v1"}).checksum


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "cannot be read"),
        (b"[]", "must be a JSON object"),
        (b'{"appName":"\xff"}', "cannot be read"),
        (b'{"appName":"a","url":"http://a","functions":' + b"[" * 100_000, "nested too deeply"),
        (b"{}", "appName is missing"),
        (b'{"functions":{}}', "functions must be a list"),
        (b'{"functions":[7]}', "functions[0]: must be an object, got 7"),
    ],
)
def test_a_body_that_is_no_registration_is_refused(body: bytes, sentence: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse_registration(body, {})
    assert sentence in raised.value.message


# Functions.


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
        ({"batchEvents": {"maxSize": 2}, "priority": {"run": "1"}}, "batchEvents cannot be combined with priority"),
        (
            {"batchEvents": {"maxSize": 2}, "cancel": [{"event": "a"}]},
            "batchEvents cannot be combined with cancel",
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


def test_an_app_has_at_most_a_thousand_functions() -> None:
    declared = [{**MINIMAL, "id": f"shop-f{number}"} for number in range(1_001)]

    assert 1_000 == len(register(*declared[:1_000]).functions)
    assert "functions must have at most 1000 entries, got 1001" in refusal(*declared)


def test_the_names_of_apps_and_functions_have_at_most_255_characters() -> None:
    assert "appName must be a text of 1 to 255 characters" in refusal(MINIMAL, appName="x" * 256)
    assert "id must be a text of 1 to 255 characters" in refusal({**MINIMAL, "id": "x" * 256})
    assert "name must be a text of 1 to 255 characters" in refusal({**MINIMAL, "name": "x" * 256})


def test_two_functions_may_not_share_an_id() -> None:
    assert 'function "shop-f" is there twice' == refusal(MINIMAL, MINIMAL)


# What SDKs want to hear.


def test_answers_always_name_their_status() -> None:
    assert {"ok": True, "modified": False, "sync_id": "s", "app_id": "a", "status": 200} == json.loads(
        registration_answer(False, "s", "a")
    )
    error = json.loads(error_answer(ConflictError("taken")))
    assert {"ok": False, "code": "conflict", "error": "taken", "status": 409, "data": None} == error
    assert {"url": "http://a"} == json.loads(ping_body("http://a"))


def test_a_registration_meant_for_another_kind_of_server_is_refused() -> None:
    check_server_kind({}, "dev")
    check_server_kind({"x-inngest-expected-server-kind": "dev"}, "dev")
    with pytest.raises(RequestError, match="kind cloud"):
        check_server_kind({"x-inngest-expected-server-kind": "cloud"}, "dev")


# Recorded and hostile registrations.


@pytest.mark.parametrize("exchange", list(exchanges("register")), ids=lambda sync: sync.source)
def test_every_recorded_registration_is_taken_whole(exchange: Exchange) -> None:
    # When
    registration = parse_registration(json.dumps(exchange.request).encode(), exchange.request_headers)

    # Then
    recorded = exchange.request["functions"]
    assert [function["id"] for function in recorded] == [function.slug for function in registration.functions]
    assert recorded == [json.loads(config) for config in registration.configs]
    all_options = next(function for function in registration.functions if function.slug.endswith("-all-options"))
    assert (2, 2, 1) == (len(all_options.triggers), len(all_options.concurrency), len(all_options.cancels))
    assert all_options.throttle == Throttle(3, timedelta(minutes=1), 2, "event.data.user")
    assert all_options.idempotency == "event.data.idem"


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=6), children, max_size=3),
    max_leaves=6,
)
_DURATION = st.sampled_from(["1s", "5m", "", "9" * 40 + "w"]) | _ANY
_KEY = st.sampled_from(["event.data.id", "(", ""]) | _ANY
_OPTION = st.fixed_dictionaries(
    {},
    optional={
        "limit": _ANY,
        "period": _DURATION,
        "timeout": _DURATION,
        "start": _DURATION,
        "key": _KEY,
        "run": _KEY,
        "mode": st.sampled_from(["skip", "cancel"]) | _ANY,
        "scope": st.sampled_from(["fn", "env"]) | _ANY,
        "maxSize": st.integers(-1, 20),
        "event": st.text(max_size=5),
        "cron": st.from_regex(r"(TZ=[A-Za-z/]* )?([0-9*/,\-A-Z#]+ ){4}[0-9*/,\-LW?]+", fullmatch=True) | st.text(),
        "fn": _ANY,
    },
)
_CONFIG = st.dictionaries(
    st.sampled_from(
        ["concurrency", "throttle", "rateLimit", "debounce", "batchEvents", "priority", "singleton", "timeouts", "x"]
    ),
    _OPTION | _ANY,
    max_size=3,
)
_LISTS = st.dictionaries(
    st.sampled_from(["triggers", "cancel", "concurrency"]), st.lists(_OPTION, max_size=3), max_size=2
)


@given(_CONFIG, _LISTS, _ANY)
def test_no_configuration_raises_anything_but_a_request_error(config: Any, lists: Any, junk: Any) -> None:
    for functions in ([{**MINIMAL, **config, **lists}], [junk], junk):
        with suppress(RequestError):
            register(functions=functions)


@given(st.binary() | _ANY.map(lambda value: json.dumps(value).encode()))
def test_no_body_raises_anything_but_a_request_error(body: bytes) -> None:
    with suppress(RequestError):
        parse_registration(body, {})
