"""Whatever is written and whatever arrives, the only thing raised is ExpressionError."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import check_restricted, compile_expression, key_text
from orchestrator.expressions.functions import FUNCTIONS
from orchestrator.expressions.index import equality_terms

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKENS = [
    *("event", "async", ".", "data", "x", "[", "]", "(", ")", "{", "}", ",", ":", "?", "+", "-", "*", "/", "%", "!"),
    *("==", "!=", "<", ">=", "&&", "||", "in", "'", '"', "'''", "\\", "\\w", "\\u12", "r'", "b'", "//", "\n", "`", "é"),
    *("1", "0", "1.5", "1u", "0x", "1e999", "null", "true", "has(", ".all(x,", ".map(", "int", "size", "😀", "@"),
]

leaves = st.one_of(
    st.sampled_from(["event", "async", "event.a", "event.b.c", "async.a", "event.l[0]", "vars.x", "int", "null_type"]),
    st.sampled_from(["null", "true", "false", "''", "'a'", "'1h'", "'2024-01-01'", "'UTC'", "'(a|b)+'", "b'a'", "'é'"]),
    st.sampled_from(["0", "1", "-1", "2.5", "1e308", "9223372036854775807", "1u", "[]", "{}", "[1, 'a']", "{'a': 1}"]),
)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"])
    names = st.sampled_from(sorted(FUNCTIONS))
    macros = st.sampled_from(["all", "exists", "exists_one", "map", "filter"])
    return st.one_of(
        st.builds("({} {} {})".format, inner, binary, inner),
        st.builds("{}({})".format, names, inner),
        st.builds("({}).{}({})".format, inner, names, inner),
        st.builds("({})[{}]".format, inner, inner),
        st.builds("({}).{}(x, {} == x)".format, inner, macros, inner),
        st.builds("({}).{}(y, y {} {})".format, inner, macros, binary, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("{}({})".format, st.sampled_from("-!"), inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{{{}: {}}}".format, inner, inner),
        st.builds("({}).a".format, inner),
        st.builds("has(({}).a)".format, inner),
    )


expressions = st.recursive(leaves, _grow, max_leaves=10)
payloads = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["\ud800", "1h", "2024-01-01", "(", "9" * 5000, "0001-01-01T00:00:00+14:00", "[[", 10**400]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcl"), inner, max_size=4),
    max_leaves=10,
)


def _use(source: str, event: Any, candidate: Any) -> None:
    with contextlib.suppress(ExpressionError):
        program = compile_expression(source)
        with contextlib.suppress(ExpressionError):
            check_restricted(program)
        equality_terms(program, event)
        key_text(program.evaluate(event, candidate, now=NOW))
        program.truth(event, candidate, now=NOW)


@settings(max_examples=800, deadline=None)
@given(source=expressions, event=payloads, candidate=payloads)
def test_well_formed_expressions_raise_nothing_else(source: str, event: Any, candidate: Any) -> None:
    """Any operation on any value gives a value or a sentence."""
    _use(source, event, candidate)


@settings(max_examples=400, deadline=None)
@given(source=st.lists(st.sampled_from(TOKENS), max_size=15).map("".join))
def test_malformed_expressions_raise_nothing_else(source: str) -> None:
    """Any jumble of tokens is compiled or refused."""
    _use(source, {"data": {"x": 1}}, None)


@settings(max_examples=300, deadline=None)
@given(source=st.text(max_size=40))
def test_arbitrary_texts_raise_nothing_else(source: str) -> None:
    """Any text is compiled or refused."""
    _use(source, {}, None)
