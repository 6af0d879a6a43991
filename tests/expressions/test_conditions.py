"""Expressions as conditions and as keys, and what a compiled one tells of itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import compile_expression, key_text
from tests.expressions.orders import EVENT


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
