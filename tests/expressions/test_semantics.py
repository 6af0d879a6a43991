"""What expressions mean: one table row per rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import compile_expression, key_text

EVENT: dict[str, Any] = {
    "name": "shop/order.paid",
    "id": "01J",
    "ts": 1_700_000_000_000,
    "data": {
        "userId": "u1",
        "amount": 120,
        "price": 9.5,
        "whole": 5.0,
        "plan": "free",
        "active": True,
        "off": False,
        "nothing": None,
        "empty": "",
        "zero": 0,
        "list": [1, 2, 3],
        "tags": ["vip", "eu"],
        "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}],
        "map": {"k": "v", "odd key": 1},
        "none": [],
        "mail": "ann@example.com",
        "at": "2024-02-29T12:30:00Z",
        "big": 9007199254740993,
        "json": '{"a":[1,{"b":true}]}',
    },
}
CANDIDATE: dict[str, Any] = {"data": {"userId": "u1", "amount": 120.0, "flag": True}}
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

PATHS = [
    ("event.name", "shop/order.paid"),
    ("event.data.userId", "u1"),
    ('event.data["userId"]', "u1"),
    ("event['data']['map']['odd key']", 1),
    ("event.data.list[0]", 1),
    ("event.data.list[2.0]", 3),
    ("event.data.list[3]", None),
    ("event.data.list[-1]", None),
    ("event.data.lines[1].sku", "b"),
    ("event.data.lines[9].sku", None),
    ("event.data.missing", None),
    ("event.data.missing.deeper.still", None),
    ("event.data.userId.deeper", None),
    ("event.data.nothing.deeper", None),
    ("event.data.missing[0]", None),
    ("event.data.missing['k']", None),
    ("event.data.map[event.data.missing]", None),
    ("event.data.map[event.data.list]", None),
    ("event.data.list['a']", None),
    ("vars.anything", None),
    ("async.data.userId", "u1"),
    ("async.nothing.here", None),
    ("[1, 2][1]", 2),
    ("{'a': {'b': 7}}.a.b", 7),
    ("{1: 'one'}[1]", "one"),
    ("{1: 'one'}[1.0]", "one"),
    ("{1: 'one'}[true]", None),
]

EQUALITY = [
    ("event.data.amount == 120", True),
    ("event.data.amount == 120.0", True),
    ("120.0 == event.data.amount", True),
    ("event.data.whole == 5", True),
    ("event.data.amount == async.data.amount", True),
    ("event.data.amount == '120'", False),
    ("event.data.amount != '120'", True),
    ("event.data.big == 9007199254740992.0", False),
    ("1u == 1", True),
    ("event.data.userId == async.data.userId", True),
    ("event.data.x == null", True),
    ("event.data.nothing == null", True),
    ("event.data.zero == null", False),
    ("event.data.empty == null", False),
    ("event.data.off == null", False),
    ("event.data.missing == event.data.other", True),
    ("event.data.missing == ''", False),
    ("event.data.missing != 'free'", True),
    ("true == 1", False),
    ("1 == event.data.active", False),
    ("event.data.active == 1.0", False),
    ("event.data.active == true", True),
    ("event.data.off == false", True),
    ("event.data.zero == false", False),
    ("event.data.zero == event.data.off", False),
    ("event.data.list == [1, 2.0, 3]", True),
    ("event.data.list == [1, 2]", False),
    ("[true] == [1]", False),
    ("event.data.map == {'odd key': 1.0, 'k': 'v'}", True),
    ("event.data.map == {'k': 'v'}", False),
    ("{'a': null} == {'b': null}", False),
    ("event.data.list == 'text'", False),
    ("0.0 / 0.0 == 0.0 / 0.0", False),
    ("b'abc' == b'abc'", True),
    ("b'abc' == 'abc'", False),
]

ORDER = [
    ("event.data.amount > 100", True),
    ("event.data.amount >= 120.0", True),
    ("event.data.price < 9.6", True),
    ("event.data.plan > 'a'", True),
    ("event.data.plan <= 'free'", True),
    ("false < true", True),
    ("event.data.missing < 5", True),
    ("event.data.missing > 5", False),
    ("event.data.missing > -5", True),
    ("event.data.missing >= 0", True),
    ("event.data.missing < 'a'", True),
    ("event.data.missing < ''", False),
    ("event.data.missing < true", True),
    ("null <= null", True),
    ("null < null", False),
    ("event.data.missing < now()", True),
    ("event.data.missing < event.data.list", False),
    ("event.data.plan < 5", False),
    ("event.data.plan > 5", False),
    ("event.data.plan >= 5", False),
    ("event.data.active > 0", False),
    ("event.data.list < event.data.list", False),
    ("event.data.map > 1", False),
]

LOGIC = [
    ("event.data.active && event.data.amount > 100", True),
    ("event.data.off || event.data.active", True),
    ("event.data.plan || 'none'", "free"),
    ("event.data.missing || 'none'", "none"),
    ("event.data.empty || event.data.zero || 'last'", "last"),
    ("event.data.missing && event.data.plan", None),
    ("event.data.active && event.data.plan", "free"),
    ("event.data.zero && true", 0),
    ("event.data.none || 'none'", "none"),
    ("!event.data.missing", True),
    ("!event.data.plan", False),
    ("!!event.data.plan", "free"),
    ("event.data.plan == 'enterprise' ? 180 : 0", 0),
    ("event.data.plan ? 'yes' : 'no'", "yes"),
    ("event.data.missing ? 'yes' : 'no'", "no"),
    ("false && 1 / 0 == 1", False),
    ("true || 1 / 0 == 1", True),
]

ADDITION = [
    ("1 + 2", 3),
    ("1 + 2.5", 3.5),
    ("event.data.amount + 1", 121),
    ("'a' + 'b'", "ab"),
    ("'a' + 1", "a1"),
    ("1 + 'a'", "1a"),
    ("event.data.userId + '-' + event.data.amount", "u1-120"),
    ("'n' + event.data.whole", "n5"),
    ("'n' + event.data.price", "n9.5"),
    ("'a' + event.data.missing", "a"),
    ("event.data.missing + 1", 1),
    ("event.data.missing + event.data.other", None),
    ("'is ' + event.data.active", "is true"),
    ("true + 1", "true1"),
    ("'l' + event.data.list", "l[1,2,3]"),
    ("'m' + {'b': 1.0, 'a': [null, true, 'x']}", 'm{"a":[null,true,"x"],"b":1}'),
    ("[1] + [2]", [1, 2]),
    ("duration('1h') + duration('30m')", timedelta(minutes=90)),
    ("timestamp('2024-01-01T00:00:00Z') + duration('1h')", datetime(2024, 1, 1, 1, tzinfo=UTC)),
    ("'at ' + timestamp('2024-01-01T00:00:00.500Z')", "at 2024-01-01T00:00:00.5Z"),
]

ARITHMETIC = [
    ("7 / 2", 3),
    ("-7 / 2", -3),
    ("7 / 2.0", 3.5),
    ("event.data.amount / 2", 60),
    ("event.data.amount / 50", 2.4),
    ("int(event.data.amount) / 50", 2),
    ("7 % 3", 1),
    ("-7 % 3", -1),
    ("event.data.amount * 2 - 40", 200),
    ("event.data.missing * 2", 0),
    ("event.data.missing - 2", -2),
    ("2 - event.data.missing", 2),
    ("-event.data.price", -9.5),
    ("-event.data.missing", 0),
    ("1.0 / 0.0", float("inf")),
    ("-1.0 / 0.0", float("-inf")),
    ("timestamp(10) - timestamp(4)", timedelta(seconds=6)),
    ("timestamp(10) - duration('4s') == timestamp(6)", True),
    ("-duration('1m')", timedelta(minutes=-1)),
]

MEMBERSHIP = [
    ("'vip' in event.data.tags", True),
    ("'x' in event.data.tags", False),
    ("2.0 in event.data.list", True),
    ("true in [1]", False),
    ("'k' in event.data.map", True),
    ("'v' in event.data.map", False),
    ("1 in event.data.map", False),
    ("event.data.list in [[1, 2, 3]]", True),
    ("'vip' in event.data.missing", False),
    ("event.data.plan in ['free', 'pro']", True),
    ("!(event.data.plan in ['free', 'pro'])", False),
]

MACROS = [
    ("has(event.data.plan)", True),
    ("has(event.data.nothing)", True),
    ("has(event.data.missing)", False),
    ("has(event.missing.deeper)", False),
    ("has(event.data.plan.deeper)", False),
    ("event.data.list.all(x, x > 0)", True),
    ("event.data.list.all(x, x > 1)", False),
    ("event.data.none.all(x, false)", True),
    ("event.data.list.exists(x, x == 3)", True),
    ("event.data.list.exists(x, x == 4)", False),
    ("event.data.missing.exists(x, true)", False),
    ("event.data.list.exists_one(x, x > 2)", True),
    ("event.data.list.exists_one(x, x > 1)", False),
    ("event.data.list.map(x, x * 2)", [2, 4, 6]),
    ("event.data.list.map(x, x > 1, x * 2)", [4, 6]),
    ("event.data.list.filter(x, x != 2)", [1, 3]),
    ("event.data.lines.filter(l, l.n > 1)[0].sku", "b"),
    ("event.data.lines.map(l, l.sku + event.data.plan)", ["afree", "bfree"]),
    ("event.data.map.map(k, k)", ["k", "odd key"]),
    ("event.data.tags.exists(t, event.data.list.exists(n, t + n == 'eu2'))", True),
    ("[1, 2].map(x, [10, 20].map(y, x + y))", [[11, 21], [12, 22]]),
    ("[1, 2].map(x, [x].map(x, x * 10)[0] + x)", [11, 22]),
    ("[[1], [2]].map(x, x.map(y, y)).map(x, x[0])", [1, 2]),
    ("[{'data': 1}].map(event, event.data)", [1]),
]

FUNCTIONS = [
    ("size(event.data.list)", 3),
    ("event.data.plan.size()", 4),
    ("size('añ😀')", 3),
    ("size(event.data.map)", 2),
    ("size(event.data.missing)", 0),
    ("event.data.mail.startsWith('ann')", True),
    ("event.data.mail.endsWith('.com')", True),
    ("event.data.mail.contains('@')", True),
    ("event.data.missing.startsWith('ann')", False),
    ("event.data.mail.contains(event.data.missing)", False),
    ("event.data.mail.matches('^[a-z]+@')", True),
    (r"event.data.mail.matches('^\w+@\w+\.com$')", True),
    (r"event.data.mail.matches(r'^\w+$')", False),
    ("matches(event.data.mail, 'example')", True),
    ("event.data.mail.matches('^' + 'ann')", True),
    ("event.data.missing.matches('.*')", False),
    ("int('42')", 42),
    ("int(3.9)", 3),
    ("int(-3.9)", -3),
    ("int(event.data.missing)", 0),
    ("int(timestamp('1970-01-01T00:01:00Z'))", 60),
    ("uint(3.2)", 3),
    ("double('1.5e2')", 150.0),
    ("double(2)", 2.0),
    ("string(5.0)", "5"),
    ("string(true)", "true"),
    ("string(event.data.missing)", ""),
    ("string(duration('90s'))", "90s"),
    ("string(b'abc')", "abc"),
    ("bool('true')", True),
    ("bool('F')", False),
    ("bool(event.data.missing)", False),
    ("bytes('é')", "é".encode()),
    ("type(1) == int", True),
    ("type(1.0) == double", True),
    ("type('') == string", True),
    ("type(event.data.missing) == null_type", True),
    ("type([]) == list && type({}) == map && type(true) == bool", True),
    ("type(type(1)) == type", True),
    ("lowercase('ABC')", "abc"),
    ("uppercase(event.data.plan)", "FREE"),
    ("lowercase(event.data.missing)", None),
    ("b64decode('aGVsbG8=')", "hello"),
    ("b64decode('aGVsbG8')", "hello"),
    ("json_parse(event.data.json).a[1].b", True),
    ("json_parse(event.data.missing)", None),
    ("json_parse('123456789012345678901234567890') > 1", True),
]

TIMES = [
    ("now()", NOW),
    ("now_plus('1h') - now()", timedelta(hours=1)),
    ("now_minus('7d') < now()", True),
    ("date('2024-02-29')", datetime(2024, 2, 29, tzinfo=UTC)),
    ("date(event.data.at) == timestamp('2024-02-29T13:30:00+01:00')", True),
    ("date('2024/02/29')", datetime(2024, 2, 29, tzinfo=UTC)),
    ("date('Thu, 29 Feb 2024 00:00:00 GMT')", datetime(2024, 2, 29, tzinfo=UTC)),
    ("date(event.ts).getFullYear()", 2023),
    ("date(1700000000) == date(event.ts)", True),
    ("date(event.data.missing)", None),
    ("timestamp('2024-02-29T12:30:15.250Z').getMonth()", 1),
    ("timestamp('2024-02-29T12:30:15.250Z').getDate()", 29),
    ("timestamp('2024-02-29T12:30:15.250Z').getDayOfMonth()", 28),
    ("timestamp('2024-02-29T12:30:15.250Z').getDayOfWeek()", 4),
    ("timestamp('2024-02-29T12:30:15.250Z').getDayOfYear()", 59),
    ("timestamp('2024-02-29T12:30:15.250Z').getHours()", 12),
    ("timestamp('2024-02-29T12:30:15.250Z').getHours('+05:30')", 18),
    ("timestamp('2024-02-29T12:30:15.250Z').getHours('America/New_York')", 7),
    ("timestamp('2024-02-29T12:30:15.250Z').getMinutes()", 30),
    ("timestamp('2024-02-29T12:30:15.250Z').getSeconds()", 15),
    ("timestamp('2024-02-29T12:30:15.250Z').getMilliseconds()", 250),
    ("duration('1h30m').getMinutes()", 90),
    ("duration('-1.5s').getMilliseconds()", -1500),
    ("duration('2w3d4h')", timedelta(weeks=2, days=3, hours=4)),
    ("duration('0')", timedelta(0)),
    ("event.data.missing.getHours()", None),
]

LITERALS = [
    (r"'\w\d\.\/'", r"\w\d\.\/"),
    (r'"\w"', r"\w"),
    (r"'''\w'''", r"\w"),
    (r"r'\w'", r"\w"),
    (r"'\\w'", r"\w"),
    (r"'a\nb\t\x41\u00e9\101'", "a\nb\tAéA"),
    (r"'it\'s' + '\w'", r"it's\w"),
    ("'a' // '\\w", "a"),
    ("'a' +\n 'b'", "ab"),
    ("0x1F", 31),
    ("1e3", 1000.0),
    ("null", None),
]

TABLE = PATHS + EQUALITY + ORDER + LOGIC + ADDITION + ARITHMETIC + MEMBERSHIP + MACROS + FUNCTIONS + TIMES + LITERALS


@pytest.mark.parametrize(("source", "expected"), TABLE, ids=[source for source, _ in TABLE])
def test_an_expression_gives_its_value(source: str, expected: Any) -> None:
    """Each row states a rule of the language."""
    actual = compile_expression(source).evaluate(EVENT, CANDIDATE, now=NOW)

    assert (type(expected), expected) == (type(actual), actual)


@pytest.mark.parametrize(
    ("source", "event", "async_", "expected"),
    [
        ("event.data.userId == async.data.userId", {"data": {"userId": 1}}, {"data": {"userId": 1.0}}, True),
        ("event.data.userId == async.data.userId", {"data": {"userId": 1}}, {"data": {"userId": "1"}}, False),
        ("event.data.userId == async.data.userId", {}, {}, True),
        ("event.data.amount > 100 && event.data.plan != 'free'", {"data": {"amount": 101}}, None, True),
        ("async.data.ok == true", None, {"data": {"ok": 1}}, False),
        ("async == null", {}, None, True),
        ("event.data == null", [], None, True),
    ],
)
def test_a_condition_is_true_or_false(source: str, event: Any, async_: Any, expected: bool) -> None:
    """truth() answers with a boolean, whatever shape the events have."""
    actual = compile_expression(source).truth(event, async_)

    assert expected is actual


@pytest.mark.parametrize("source", ["event.data.plan", "event.data.missing", "1", "event.data.missing && true"])
def test_a_condition_that_is_not_boolean_is_an_error(source: str) -> None:
    """Truthiness counts inside a condition, never for its result."""
    with pytest.raises(ExpressionError, match="must give true or false"):
        compile_expression(source).truth(EVENT)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ("", ""),
        (None, ""),
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (5.0, "5"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (1e21, "1e+21"),
        (2**64 - 1, "18446744073709551615"),
        ([1, "é", None, 2.0, True], '[1,"é",null,2,true]'),
        ({"b": 1, "a": {"c": []}}, '{"a":{"c":[]},"b":1}'),
        ({1: "x", "1": "y"}, '{"1":"x","1":"y"}'),
        (datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01T00:00:00Z"),
        ([datetime(2024, 1, 1, tzinfo=UTC)], '["2024-01-01T00:00:00Z"]'),
        (timedelta(hours=1), "3600s"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_a_key_is_written_as_text(value: Any, expected: str) -> None:
    """Equal values give equal keys: 1 and 1.0, maps in any order."""
    assert expected == key_text(value)


@pytest.mark.parametrize(
    ("source", "roots", "uses_macros"),
    [
        ("'static'", set(), False),
        ("event.data.a == 1", {"event"}, False),
        ("event.data.a == async.data['a']", {"event", "async"}, False),
        ("has(async.data)", {"async"}, True),
        ("[1].exists(event, event == 1)", set(), True),
        ("event.list.map(x, vars.x)", {"event", "vars"}, True),
    ],
)
def test_a_program_knows_what_it_reads(source: str, roots: set[str], uses_macros: bool) -> None:
    """The variables of a macro are not roots, even when they are called like one."""
    program = compile_expression(source)

    assert (roots, uses_macros) == (program.roots, program.uses_macros)
