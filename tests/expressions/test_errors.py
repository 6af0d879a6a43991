"""What is refused, and in which words."""

from __future__ import annotations

import pytest

from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import check_restricted, compile_expression

AT_COMPILING = [
    ("", "The expression is empty"),
    (" \n ", "The expression is empty"),
    ("event.data.x ==", "The expression ends too early, at column 16 of `event.data.x ==`"),
    ("event.data.x === 1", "The expression uses === or !==; write == or !=, at column 16 of `event.data.x === 1`"),
    ("event.x == 'abc", "The expression opens a text that is never closed, at column 12 of `event.x == 'abc`"),
    ("event.x @ 2", "The expression holds a character that means nothing there, '@', at column 9 of `event.x @ 2`"),
    ("event.x and true", "The expression goes on with something unexpected, at column 9 of `event.x and true`"),
    ("event.x ==\n  )", "The expression goes on with something unexpected, at line 2, column 3 of `event.x == )`"),
    (r"'\w\w' + )", r"The expression goes on with something unexpected, at column 10 of `'\w\w' + )`"),
    ("data.x == 1", "There is no `data` here; an expression reads `event`, or `async` in a wait, at column 1"),
    (
        "event.x == 1 && usr == 2",
        "There is no `usr` here; an expression reads `event`, or `async` in a wait, at column 17",
    ),
    ("[1].map(x, x) == [x]", "There is no `x` here; an expression reads `event`, or `async` in a wait, at column 19"),
    ("event.x.includes('a')", "There is no function includes(); there are b64decode, "),
    ("size(1, 2)", "size() takes 1 values, here it gets 2, at column 1 of `size(1, 2)`"),
    ("event.t.getHours(1, 2)", "getHours() takes 1 or 2 values, here it gets 3, at column 9"),
    ("event.x.matches('(')", "The regular expression cannot be used: missing ): (, at column 9"),
    ("Money{amount: 1}", "There is no type `Money` to build; maps are written {'key': value}, at column 1"),
    ("has(event)", "The expression cannot be read: has() argument must be a field selection, at column 5"),
    ("9223372036854775808", "The expression cannot be read: invalid int literal, at column 1"),
    ("'\ud800'", "The expression holds the character '\\ud800', which is not text, at column 2"),
    ("'\0'", "The expression holds the character '\\x00', which is not text, at column 2"),
    ("(" * 40 + "1" + ")" * 40, "The expression is nested more than 32 levels deep"),
    ("+".join(["1"] * 40), "The expression is nested more than 32 levels deep"),
    ("event" + ".x" * 40, "The expression is nested more than 32 levels deep"),
    ("[1].all(x, " * 28 + "true" + ")" * 28, "The expression is nested more than 32 levels deep"),
    ("1" * 40_000, "The expression has 40000 characters, more than the 32768 allowed"),
]

AT_EVALUATING = [
    ("1 / 0", "`/` cannot divide by zero, at column 3 of `1 / 0`"),
    ("event.n / 0", "`/` cannot divide by zero"),
    ("1 % 0", "`%` cannot divide by zero or divide infinity"),
    ("event.s * 2", "`*` needs numbers, not a text, at column 9 of `event.s * 2`"),
    ("event.s - 2", "`-` cannot take a number from a text"),
    ("-event.s", "`-` needs numbers, not a text"),
    ("true * 2", "`*` needs numbers, not a boolean"),
    ("9223372036854775807 * 4", "The whole number does not fit into 64 bits"),
    ("1 in event.s", "`in` needs a list or a map on its right, not a text"),
    ("event.s.map(x, x)", "Only a list or a map can be looped over, not a text, at column 9 of"),
    ("{true: 1}", "A map has texts or numbers as keys, not a boolean"),
    ("lowercase(event.n)", "lowercase() needs a text, not a number, at column 1 of `lowercase(event.n)`"),
    ("event.n.startsWith('a')", "startsWith() needs a text, not a number"),
    ("size(event.n)", "size() needs a text, a list or a map, not a number"),
    ("int('abc')", "'abc' is not a whole number of 64 bits"),
    ("int(1e30)", "1e+30 is not a whole number of 64 bits"),
    ("uint(-1)", "-1 is negative, uint() needs 0 or more"),
    ("double('x')", "'x' is not a number"),
    ("bool('maybe')", "'maybe' is neither true nor false"),
    ("b64decode('*')", "b64decode() got a text that is not base64 of a text"),
    ("json_parse('{')", "json_parse() got a text that is not JSON"),
    ("json_parse('NaN')", "json_parse() got a text that is not JSON"),
    ("date('soon')", "A date or a number is needed, not 'soon'"),
    ("date(event)", "A date or a number is needed, not a map"),
    ("date(1e300)", "A date or a number is needed, not 1e+300"),
    ("duration('1 parsec')", "A duration such as '1h30m' is needed, not '1 parsec'"),
    ("duration('999999999999999w')", "The duration '999999999999999w' is too long"),
    ("date(0) + duration('5000000d')", "The result is out of range"),
    ("date(0).getHours('Mars/Base')", "There is no time zone 'Mars/Base'"),
    ("date(0).getHours('../../etc/passwd')", "There is no time zone '../../etc/passwd'"),
    ("now()", "The present time is not known here, so now() cannot be used"),
    ("event.s.matches(event.p)", "The regular expression cannot be used: missing ): ("),
]


@pytest.mark.parametrize(("source", "sentence"), AT_COMPILING, ids=[sentence for _, sentence in AT_COMPILING])
def test_a_source_that_cannot_be_compiled_is_told_where_and_why(source: str, sentence: str) -> None:
    """The sentence says what is wrong and at which column of the source as it was written."""
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source)

    assert caught.value.message.startswith(sentence)


@pytest.mark.parametrize(("source", "sentence"), AT_EVALUATING, ids=[source for source, _ in AT_EVALUATING])
def test_what_cannot_be_computed_is_told_where_and_why(source: str, sentence: str) -> None:
    """Values of the wrong kind are the author's to mend, so the sentence names the function and the place."""
    program = compile_expression(source)

    with pytest.raises(ExpressionError) as caught:
        program.evaluate({"s": "text", "n": 7, "p": "("})

    assert caught.value.message.startswith(sentence)
    assert "column" in caught.value.message


@pytest.mark.parametrize(
    "source",
    [
        "event.data.userId == async.data.userId",
        "async.data.n >= int(event.data.n) && !(async.data.k in ['a', 'b']) || async.data['x'][0] != null",
        "event.data.a ? true : uint(async.data.n) < double('1')",
    ],
)
def test_a_cancel_condition_may_compare_combine_and_index(source: str) -> None:
    """These are the operations a cancel condition is made of."""
    check_restricted(compile_expression(source))


@pytest.mark.parametrize(
    ("source", "used"),
    [
        ("has(async.data.x)", "it uses has, at column"),
        ("async.data.list.exists(x, x == 1)", "it uses exists, at column 17"),
        ("async.data.list . map(x, x) == []", "it uses map, at column"),
        ("async.data.x.startsWith('a')", "it uses startsWith, at column 14"),
        ("async.data.x + 1 == 2", "it uses `+`, at column 14"),
        ("now() == async.ts", "it uses now, at column 1"),
    ],
)
def test_a_cancel_condition_may_use_nothing_else(source: str, used: str) -> None:
    """The refusal names what was used and where."""
    with pytest.raises(ExpressionError) as caught:
        check_restricted(compile_expression(source))

    assert used in caught.value.message
