"""What SDKs register is taken as they mean it, or refused with a sentence."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.function import Throttle
from orchestrator.errors import ConflictError, RequestError
from orchestrator.protocol.sync import (
    check_server_kind,
    error_answer,
    parse_registration,
    ping_body,
    registration_answer,
)
from tests.protocol.recorded import Exchange, exchanges
from tests.protocol.registrations import MINIMAL, refusal, register


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
