"""What the event API takes as events, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator.errors import RequestError, TooLargeError
from orchestrator.protocol.events import EventLimits, Parsed
from tests.protocol.event_bodies import NOW, NOW_MS, parse


def test_an_event_of_a_name_alone_gets_defaults() -> None:
    """`data` becomes an empty object, `ts` the moment of receipt, the id the one that was given out."""
    parsed = parse('{"name":"a"}')

    (event,) = parsed.events
    assert parsed.error is None
    assert ("id-1", "a", "{}", NOW_MS, NOW) == (event.id, event.name, event.data, event.ts, event.received_at)
    assert (None, None, None, None) == (event.external_id, event.user, event.v, event.meta)


def test_every_known_member_is_kept_and_unknown_ones_are_ignored() -> None:
    (event,) = parse(
        '{"name":"a/b","data":{"x":1},"id":"mine","ts":1700000000000,"v":"2","user":{"u":1},"meta":{"m":1},"junk":[]}'
    ).events

    assert ("a/b", '{"x":1}', "mine", 1_700_000_000_000) == (event.name, event.data, event.external_id, event.ts)
    assert ("2", '{"u":1}', '{"m":1}') == (event.v, event.user, event.meta)


@pytest.mark.parametrize(
    "data",
    [
        '{"big":123456789012345678901234567890}',
        '{ "spaced" :\n [1.0, 1e2,\t-0] }',
        '{"nul":"\\u0000","escaped":"\\u00e9","plain":"é","emoji":"\\ud83d\\ude00"}',
        '{"twice":1,"twice":2}',
        '{"fine":0.1000000000000000055511151231257827}',
        "{}",
    ],
)
def test_the_text_of_data_is_kept_as_it_was_sent(data: str) -> None:
    """Numbers of any size and the sender's spelling reach the function untouched."""
    (event,) = parse(f'[{{"name":"a","data":{data}}}]').events

    assert data == event.data


def test_only_the_key_of_the_server_is_taken_out_of_data() -> None:
    parsed = parse('{"name":"a","data":{"_inngest":{"fn_id":"x"},"n":123456789012345678901,"d":{"_inngest":1}}}')

    assert '{"n":123456789012345678901,"d":{"_inngest":1}}' == parsed.events[0].data


def test_the_key_of_the_server_is_found_in_disguise() -> None:
    assert "{}" == parse('{"name":"a","data":{"_inng\\u0065st":1,"_inngest":2}}').events[0].data


def test_the_last_of_doubled_members_counts() -> None:
    (event,) = parse('{"name":"a","name":"b","data":{"_inngest":1},"d\\u0061ta":{"y":2}}').events

    assert ("b", '{"y":2}') == (event.name, event.data)


@pytest.mark.parametrize("member", ['"data":null', '"id":null', '"id":""', '"v":null', '"v":""', '"user":null'])
def test_null_and_empty_mean_absent(member: str) -> None:
    assert parse('{"name":"a"}').events == parse(f'{{"name":"a",{member}}}').events


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1700000000000", 1_700_000_000_000),
        ("1700000000000.0", 1_700_000_000_000),
        ("1.7e12", 1_700_000_000_000),
        ("315532800000", 315_532_800_000),
        ("4102444800000", 4_102_444_800_000),
        ("0", NOW_MS),
        ("0.0", NOW_MS),
        ("null", NOW_MS),
    ],
)
def test_ts_is_whole_milliseconds_however_written(written: str, expected: int) -> None:
    assert expected == parse(f'{{"name":"a","ts":{written}}}').events[0].ts


def test_names_and_ids_may_be_as_long_as_the_limit() -> None:
    text = "é" * 512

    (event,) = parse(json.dumps({"name": text, "id": text})).events

    assert (text, text) == (event.name, event.external_id)


def test_an_array_gives_its_events_in_order() -> None:
    parsed = parse(' [{"name":"a"}, {"name":"b"}]\n')

    assert [("id-1", "a"), ("id-2", "b")] == [(event.id, event.name) for event in parsed.events]


def test_an_empty_array_is_no_event_and_no_error() -> None:
    assert Parsed(()) == parse("[]")


def test_an_event_as_large_and_as_deep_as_the_limits_is_taken() -> None:
    text = '{"name":"a","data":{"x":[[1]]}}'

    assert parse(f"[{text}]", EventLimits(event_bytes=len(text), depth=4)).error is None


def test_as_many_events_as_the_limit_are_taken() -> None:
    parsed = parse(json.dumps([{"name": "a"}] * 3), EventLimits(events=3))

    assert (3, None) == (len(parsed.events), parsed.error)


# --- what is refused


BAD_BODIES = [
    (b"", "Request body is empty; it must contain an event object or an array of event objects"),
    (b" \n", "Request body is empty"),
    (b"1", "Request body must contain an event object or an array of event objects"),
    (b'"text"', "Request body must contain an event object or an array of event objects"),
    (b"null", "Request body must contain an event object or an array of event objects"),
    (b"true", "Request body must contain an event object or an array of event objects"),
    (b"hello", "Request body is not valid JSON"),
    (b"name=a", "Request body is not valid JSON"),
    (b"<xml/>", "Request body is not valid JSON"),
    (b"NaN", "Request body is not valid JSON"),
    (b"\xef\xbb\xbf{}", "Request body is not valid JSON"),
    (b"\xff\xfe", "Request body is not valid JSON"),
    (b"{", "is not valid JSON"),
    (b'{"name":"a"', "is not valid JSON"),
    (b'{"name":"a"} x', "is not valid JSON"),
    (b"{'name':'a'}", "is not valid JSON"),
    (b'{"name":"a",}', "is not valid JSON"),
    (b'{"name":"a","data":{"x":NaN}}', "is not valid JSON"),
    (b'{"name":"a","data":{"x":-Infinity}}', "is not valid JSON"),
    (b'{"name":"a","data":{"x":1e999}}', "is not valid JSON"),
    (b'{"name":"a","data":{"x":01}}', "is not valid JSON"),
    (b'{"name":"a","data":{"x":"\x00"}}', "is not valid JSON"),
    (b'{"name":"a","data":{"x":"\xff"}}', "is not valid JSON"),
    (b'{"name":"a","data":{"x":"\\ud800"}}', "is not valid JSON"),
    (b'{"name":"a","data":{"x":"\\udc00 "}}', "is not valid JSON"),
    (b'{"name":"a","junk":"\xed\xa0\x80"}', "is not valid JSON"),
    (b'{"name":"\\ud800"}', "is not valid JSON"),
    (b"[", "Request body is not valid JSON"),
    (b'[{"name":"a"}', "Request body is not valid JSON"),
    (b'[{"name":"a"},]', "Request body is not valid JSON"),
    (b'[{"name":"a"}] x', "Request body is not valid JSON"),
    (b'[{"name":"a"} {"name":"b"}]', "Request body is not valid JSON"),
    (b"[" * 200_000, "Request body is nested deeper than the limit of 256 levels"),
    (b'{"name":"a","data":{"x":' + b"[" * 300 + b"]" * 300 + b"}}", "nested deeper than the limit of 256 levels"),
    (b'{"name":"a","data":' + b'{"x":' * 300 + b"1" + b"}" * 301, "nested deeper than the limit of 256 levels"),
    (b'{"name":"a","data":{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}}", "is not valid JSON"),
]
BAD_EVENTS = [
    ("{}", "event name is empty"),
    ('{"name":""}', "event name is empty"),
    ('{"name":null}', "event name is empty"),
    ('{"Name":"a"}', "event name is empty"),
    ('{"name":1}', '"name" must be a string, not a number'),
    ('{"name":true}', '"name" must be a string, not a boolean'),
    ('{"name":["a"]}', '"name" must be a string, not an array'),
    ('{"name":{}}', '"name" must be a string, not an object'),
    (json.dumps({"name": "n" * 513}), '"name" has 513 characters, the limit is 512'),
    ('{"name":"a\\u0000"}', '"name" must not contain the NUL character'),
    ('{"name":"inngest/foo"}', "event name is reserved for internal use: inngest/foo"),
    ('{"name":"InnGest/foo"}', "event name is reserved for internal use: InnGest/foo"),
    ('{"name":"inngest/"}', "event name is reserved for internal use: inngest/"),
    ('{"name":"a","data":1}', '"data" must be an object, not a number'),
    ('{"name":"a","data":"x"}', '"data" must be an object, not a string'),
    ('{"name":"a","data":[]}', '"data" must be an object, not an array'),
    ('{"name":"a","data":false}', '"data" must be an object, not a boolean'),
    ('{"name":"a","ts":"1700000000000"}', '"ts" must be an integer of Unix milliseconds, not a string'),
    ('{"name":"a","ts":1700000000000.5}', '"ts" must be an integer of Unix milliseconds, not a fraction'),
    ('{"name":"a","ts":true}', '"ts" must be an integer of Unix milliseconds, not a boolean'),
    ('{"name":"a","ts":false}', '"ts" must be an integer of Unix milliseconds, not a boolean'),
    ('{"name":"a","ts":{}}', '"ts" must be an integer of Unix milliseconds, not an object'),
    ('{"name":"a","ts":-1}', 'timestamp is before Jan 1, 1980: "ts" must be at least 315532800000'),
    ('{"name":"a","ts":1700000000}', "timestamp is before Jan 1, 1980"),
    ('{"name":"a","ts":315532799999}', "timestamp is before Jan 1, 1980"),
    ('{"name":"a","ts":4102444800001}', 'timestamp is after Jan 1, 2100: "ts" must be at most 4102444800000'),
    ('{"name":"a","ts":123456789012345678901234567890}', "timestamp is after Jan 1, 2100"),
    ('{"name":"a","id":7}', '"id" must be a string, not a number'),
    ('{"name":"a","id":false}', '"id" must be a string, not a boolean'),
    ('{"name":"a","id":"a\\u0000b"}', '"id" must not contain the NUL character'),
    (json.dumps({"name": "a", "id": "i" * 513}), '"id" has 513 characters, the limit is 512'),
    ('{"name":"a","v":2}', '"v" must be a string, not a number'),
    ('{"name":"a","v":"\\u0000"}', '"v" must not contain the NUL character'),
    ('{"name":"a","user":"u"}', '"user" must be an object, not a string'),
    ('{"name":"a","user":[]}', '"user" must be an object, not an array'),
    ('{"name":"a","meta":1}', '"meta" must be an object, not a number'),
    ('{"name":"a","meta":[]}', '"meta" must be an object, not an array'),
]
BAD_ELEMENTS = [
    ("1", "must be an event object, not a number"),
    ("null", "must be an event object, not null"),
    ('"a"', "must be an event object, not a string"),
    ("[]", "must be an event object, not an array"),
    ("true", "must be an event object, not a boolean"),
]


@pytest.mark.parametrize(("body", "sentence"), BAD_BODIES)
def test_a_bad_body_is_told_in_a_sentence(body: bytes, sentence: str) -> None:
    parsed = parse(body)

    assert () == parsed.events
    assert parsed.error is not None
    assert (400, sentence) == (parsed.error.status, found_in(parsed.error, sentence))


@pytest.mark.parametrize(("text", "sentence"), BAD_EVENTS)
def test_a_bad_event_alone_is_told_in_a_sentence(text: str, sentence: str) -> None:
    parsed = parse(text)

    assert () == parsed.events
    assert parsed.error is not None
    assert (400, sentence) == (parsed.error.status, found_in(parsed.error, sentence))


@pytest.mark.parametrize(("text", "sentence"), BAD_EVENTS + BAD_ELEMENTS)
def test_in_an_array_those_before_the_bad_one_are_taken_and_it_is_named(text: str, sentence: str) -> None:
    parsed = parse(f'[{{"name":"a"}},{{"name":"b"}},{text},{{"name":"c"}}]')

    assert ["a", "b"] == [event.name for event in parsed.events]
    assert parsed.error is not None
    assert parsed.error.message.startswith("event 2: ")
    assert sentence == found_in(parsed.error, sentence)


def found_in(error: RequestError, sentence: str) -> str:
    """The sentence if the error says so, else all it says (for a readable failure)."""
    return sentence if sentence in error.message else error.message


def test_an_event_beyond_the_size_is_too_large_and_named() -> None:
    text = json.dumps({"name": "a", "data": {"x": "y" * 600_000}})

    parsed = parse(f'[{{"name":"a"}},{text}]')

    assert 1 == len(parsed.events)
    assert isinstance(parsed.error, TooLargeError)
    assert f"event 1: the event has {len(text)} bytes, the limit is 524288 bytes" == parsed.error.message


def test_more_events_than_the_limit_are_too_large_and_none_is_taken() -> None:
    parsed = parse(json.dumps([{"name": "a"}] * 5_001))

    assert () == parsed.events
    assert isinstance(parsed.error, TooLargeError)
    assert "event 5000: the request has more events than the limit of 5000" == parsed.error.message


def test_a_crowd_is_judged_without_being_taken_apart() -> None:
    """The array is refused at the first element too many: what comes after is not even looked at."""
    parsed = parse(b"[" + b"0," * 5_000 + b"0, this is not JSON")

    assert isinstance(parsed.error, TooLargeError)


def test_commas_inside_events_do_not_count_as_events() -> None:
    parsed = parse(json.dumps([{"name": "a", "data": {"x": [1, 2, 3, 4]}}] * 2), EventLimits(events=2))

    assert (2, None) == (len(parsed.events), parsed.error)


_text = st.text(max_size=6)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_text | st.just("_inngest"), inner, max_size=2),
    max_leaves=4,
)
_almost = st.fixed_dictionaries(
    {"name": st.just("app/x") | _text | _json},
    optional=dict.fromkeys(("data", "id", "ts", "v", "user", "meta"), _json),
)


@given(st.binary() | st.binary().map(lambda body: b'[{"name":"' + body + b'"}]'))
@example(b'{"name":"a","data":{"\xff":1}}')
@example(b'{"\\ud800":1}')
@example(b'[{"name":"a","ts":1E400}]')
def test_no_bytes_make_the_parser_raise(body: bytes) -> None:
    parsed = parse(body)

    assert parsed.error is None or 400 <= parsed.error.status < 500


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(_almost | st.lists(_almost, max_size=3))
def test_what_is_taken_can_be_stored_and_read_again(value: Any) -> None:
    """Every part that is kept is strict JSON, or text without NUL and surrogates."""
    for event in parse(json.dumps(value)).events:
        for part in (event.data, event.user or "{}", event.meta or "{}", event.wire()):
            assert isinstance(json.loads(part), dict)
            part.encode()
        for text in (event.name, event.external_id or "", event.v or ""):
            assert len(text.encode()) <= 2048
            assert "\0" not in text
        assert "_inngest" not in json.loads(event.data)


# --- seeds
