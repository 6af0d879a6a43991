"""No expression can hang a worker or eat its memory, and the cache of programs has an end."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from typing import Any

import pytest

from orchestrator.errors import ExpressionError
from orchestrator.expressions import cel
from orchestrator.expressions.cel import compile_expression, key_text
from orchestrator.expressions.index import equality_terms

MOST_SECONDS = 5.0
MOST_BYTES = 64 * 1024 * 1024

_HUNDRED = "event.hundred"
_FOUR_LOOPS = f"{_HUNDRED}.all(a, {_HUNDRED}.all(b, {_HUNDRED}.all(c, {_HUNDRED}.all(d, true))))"
_TWENTY_DOUBLINGS = "[1]" + ".map(x, [x, x])" * 28
EVENT: dict[str, Any] = {
    "hundred": list(range(100)),
    "long": "ab" * 250_000,
    "many": list(range(100_000)),
    "pieces": ["piece"] * 50_000,
}

GREEDY = [
    ("a loop of 100^4 rounds", _FOUR_LOOPS),
    ("a loop of 100^4 maps", _FOUR_LOOPS.replace("all", "map")),
    ("a text doubled 30 times", "['x']" + "".join(".map(s, s + s)" for _ in range(25)).replace("s + s", "s+s+s+s+s")),
    ("long texts joined in a loop", f"{_HUNDRED}.map(x, event.long + x)"),
    ("long texts compared in a loop", "event.many.all(x, event.long == event.long + '')"),
    ("lists joined in a loop", f"{_HUNDRED}.map(x, event.many + event.many)"),
    ("lists compared in a loop", "event.many.all(x, event.many == event.many)"),
    ("membership in a loop", "event.many.all(x, !(-1 in event.many))"),
    ("a list that doubles, written as text", f"string({_TWENTY_DOUBLINGS})"),
    ("a list written as text in a loop", f"{_HUNDRED}.map(x, string(event.pieces))"),
    ("a date of a list that doubles", f"date({_TWENTY_DOUBLINGS})"),
    ("a large pattern over a long text", "event.long.matches('(.{1,30}){30}x')"),
    ("a new pattern in every round", "event.many.all(x, !'a'.matches('(.{1,30}){30}' + x))"),
    ("numbers squared again and again", "[3]" + ".map(x, x * x)" * 28),
    (
        "json parsed in a loop",
        "event.many.all(x, json_parse('[' + event.long.size() + ',\"' + event.long + '\"]') != 1)",
    ),
]


@pytest.mark.parametrize("source", [source for _, source in GREEDY], ids=[name for name, _ in GREEDY])
def test_a_greedy_expression_ends_in_an_error_soon_and_small(source: str) -> None:
    """Work and memory are bounded by the budget, whatever is asked."""
    program = compile_expression(source)
    tracemalloc.start()
    before = time.process_time()

    with pytest.raises(ExpressionError):
        program.evaluate(EVENT)

    seconds, (_, peak) = time.process_time() - before, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < MOST_SECONDS
    assert peak < MOST_BYTES


def test_backtracking_patterns_take_linear_time() -> None:
    """A pattern that takes ages by backtracking is answered at once."""
    before = time.process_time()

    actual = compile_expression("event.text.matches('(a+)+$')").evaluate({"text": "a" * 5000 + "b"})

    assert actual is False
    assert time.process_time() - before < 1.0


def test_ordinary_loops_fit_the_budget() -> None:
    """A thousand order lines with ten tags each are no reason to refuse."""
    event = {"lines": [{"sku": str(n), "tags": [str(t) for t in range(10)]} for n in range(1000)]}

    actual = compile_expression("event.lines.all(l, l.tags.exists(t, t == '9') && l.sku != 'x')").truth(event)

    assert actual is True


@pytest.mark.parametrize("operator", ["&&", "||"])
def test_a_chain_of_400_terms_is_no_nesting(operator: str) -> None:
    """Programs write long conditions; the parser balances them."""
    source = f" {operator} ".join(f"event.data.x{n} == {n}" for n in range(400))

    actual = compile_expression(source).truth({"data": {f"x{n}": n for n in range(400)}})

    assert actual is True


def test_values_nested_too_deeply_are_an_error() -> None:
    """A payload of thousands of brackets cannot end the interpreter."""
    deep: list[Any] = []
    other: list[Any] = []
    for _ in range(100_000):
        deep, other = [deep], [other]

    with pytest.raises(ExpressionError, match="nested too deeply"):
        compile_expression("event == async").evaluate(deep, other)
    with pytest.raises(ExpressionError, match="nested too deeply"):
        compile_expression("event + 'x'").evaluate(deep)
    with pytest.raises(ExpressionError, match="nested too deeply"):
        key_text(deep)


def test_the_terms_of_a_program_share_one_budget() -> None:
    """A hundred greedy equalities cost no more than one."""
    conjunct = "async.x == event.many.filter(x, x < 0).size()"
    program = compile_expression(" && ".join([conjunct] * 100))
    before = time.process_time()

    terms = equality_terms(program, EVENT)

    assert len(terms) == 1
    assert time.process_time() - before < MOST_SECONDS


def test_compiling_twice_gives_the_same_program() -> None:
    """An expression is compiled once."""
    assert compile_expression("event.once == 1") is compile_expression("event.once == 1")


def test_the_cache_is_bounded_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program used last stays, the one unused for longest goes."""
    monkeypatch.setattr(cel, "_cache", cel._Cache())
    monkeypatch.setattr(cel, "MAX_PROGRAMS", 10)
    kept = compile_expression("event.kept")

    for number in range(50):
        compile_expression(f"event.n{number}")
        compile_expression("event.kept")

    assert len(cel._cache) == 10
    assert compile_expression("event.kept") is kept


def test_the_cache_is_bounded_by_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long sources push out more programs than short ones."""
    monkeypatch.setattr(cel, "_cache", cel._Cache())
    monkeypatch.setattr(cel, "MAX_CACHED_CHARACTERS", 1_000)

    for number in range(20):
        compile_expression(f"'{number:0>298}'")

    assert len(cel._cache) == 3


def test_importing_loads_neither_the_parser_nor_the_regular_expressions() -> None:
    """A process that evaluates nothing pays nothing."""
    code = (
        "import sys, orchestrator.expressions.cel, orchestrator.expressions.index; "
        "print(sorted({'re2', 'google.protobuf', 'cel_expr_python'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
