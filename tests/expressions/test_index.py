"""Equality terms: which are found, and that they never hide a pause that would match."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import compile_expression
from orchestrator.expressions.index import Term, equality_terms, term_key

EVENT: dict[str, Any] = {"data": {"id": "u1", "n": 5.0, "list": [1], "flag": True}}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("async.data.id == event.data.id", [("data.id", "s:u1")]),
        ("event.data.id == async.data.id", [("data.id", "s:u1")]),
        ("async.data['id'] == 'x'", [("data.id", "s:x")]),
        ("async.data.n == event.data.n && async.data.f == event.data.flag", [("data.n", "n:5"), ("data.f", "b:true")]),
        ("async.a == 1 && (async.b == 2.0 && async.c == 3 && async.d > 4)", [("a", "n:1"), ("b", "n:2"), ("c", "n:3")]),
        ("async.a == event.missing", [("a", "null")]),
        ("async.a == null", [("a", "null")]),
        ("async.a == lowercase('ABC') + event.data.n", [("a", "s:abc5")]),
        ("async.a == event.data.list[0]", [("a", "n:1")]),
        ("async.a == event.data.list", []),
        ("async.a == [1]", []),
        ("async.a == async.b", []),
        ("async.a == event.data.id + async.b", []),
        ("async.a == now()", []),
        ("async.a == date('2024-01-01')", []),
        ("async.a == int(event.data.id)", []),
        ("async.a == 0.0 / 0.0", []),
        ("async.a == 1e30", []),
        ("async.a == 1 || async.b == 2", []),
        ("(async.a == 1 || true) && async.b == 2", [("b", "n:2")]),
        ("!(async.a == 1)", []),
        ("async.a != 1", []),
        ("async.list[0] == 1", []),
        ("async == 1", []),
        ("true", []),
    ],
)
def test_terms_are_the_equalities_of_the_outer_chain(source: str, expected: list[tuple[str, str]]) -> None:
    """Only what every match must satisfy becomes a term."""
    terms = equality_terms(compile_expression(source), EVENT)

    assert tuple(Term(tuple(path.split(".")), value) for path, value in expected) == terms


def test_long_and_unprintable_texts_have_short_keys() -> None:
    """A key fits an indexed column and holds nothing a database refuses."""
    for value in ["x" * 500_000, "a\0b", "\ud800", "é" * 200]:
        key = term_key(value)

        assert key is not None
        assert len(key) <= 130
        assert key.isprintable()


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.0**53, 2.0**64, 1e30, float("inf"), float("nan")]),
    st.sampled_from([2**53, 2**53 + 1, 2**64, 2**64 + 1, 10**30]),
    st.sampled_from(["", "a", "1", "true", "null", "n:1", "a\0", "x" * 200]),
)
payloads = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
events = st.dictionaries(st.sampled_from("abc"), payloads, max_size=3)
paths = st.sampled_from(["a", "b", "c", "a.b", "a['c']", "b.a.c", "a[0]", "c[1].a"])
operands = st.one_of(
    paths.map(lambda path: f"event.{path}"),
    paths.map(lambda path: f"async.{path}"),
    paths.map(lambda path: f"async.{path}"),
    st.sampled_from(["null", "true", "false", "0", "1", "1.0", "1.5", "''", "'a'", "[]", "now()", "event.a + 1"]),
)
comparisons = st.builds("{} {} {}".format, operands, st.sampled_from(["==", "==", "==", "!=", "<=", "in"]), operands)
conditions = st.recursive(
    comparisons,
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "&&", "||"]), inner),
    max_leaves=4,
)


@settings(max_examples=600, deadline=None)
@given(source=conditions, event=events, candidate=events)
def test_every_match_satisfies_every_term(source: str, event: Any, candidate: Any) -> None:
    """The law of the index: a condition that is true of a candidate has only terms that hold for it."""
    program = compile_expression(source)
    try:
        matched = program.truth(event, candidate)
    except ExpressionError:
        return

    if matched:
        assert all(term.holds(candidate) for term in equality_terms(program, event))


@settings(max_examples=600, deadline=None)
@given(left=scalars, right=scalars)
def test_equal_values_have_equal_keys_and_unequal_ones_do_not(left: Any, right: Any) -> None:
    """Keys agree exactly where == of the language does, unless a kind is not indexed."""
    equal = compile_expression("event == async").truth(left, right)
    keys = (term_key(left), term_key(right))

    if None in keys:
        # Then no term exists, or no candidate of this value can equal an indexed one.
        assert not equal or keys == (None, None)
    else:
        assert equal == (keys[0] == keys[1])


@settings(max_examples=200, deadline=None)
@given(event=events, path=st.sampled_from(["a", "a.b", "a['c']", "b.a.c"]))
def test_an_event_found_by_its_own_value_is_found(event: Any, path: str) -> None:
    """A wait for equality with the first event is found by an event with the same data."""
    program = compile_expression(f"async.{path} == event.{path}")

    if program.truth(event, event):
        assert all(term.holds(event) for term in equality_terms(program, event))
