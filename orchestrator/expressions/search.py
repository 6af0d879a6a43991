"""Conditions to search by: over the event that started a run and the run's output, or over an event alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import run_closure
from orchestrator.expressions.closures import SEARCHES, Builder, Run
from orchestrator.expressions.frame import Frame
from orchestrator.expressions.functions import CLOCK_FUNCTIONS
from orchestrator.expressions.parse import Tree, located, parse
from orchestrator.expressions.paths import path_of
from orchestrator.expressions.terms import conjuncts
from orchestrator.expressions.values import spoken


@dataclass(frozen=True, slots=True)
class Demand:
    """What a row must have to be found: this value at this path of `event` or `output`."""

    root: str
    path: tuple[str, ...]
    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """A compiled condition."""

    source: str
    #: Those of `event` and `output` that it reads.
    reads: frozenset[str]
    #: What must be equal for it to be true.
    demands: tuple[Demand, ...]
    _run: Run = field(repr=False)
    _slots: int = field(repr=False)

    def holds(self, event: Any, output: Any = None) -> bool:
        """Try the condition on a row.  Raises `ExpressionError` when it has no value, or none that is a boolean."""
        value = run_closure(self._run, self.source, Frame(event, output, None, self._slots))
        if value is True or value is False:
            return bool(value)
        raise ExpressionError(f"The search gives {spoken(value)} where it must give true or false: {self.source[:200]}")


@lru_cache(maxsize=64)
def compile_search(source: str, *, outputs: bool = True) -> Search:
    """Compile a condition; raise `ExpressionError` telling what is wrong and where.

    `outputs` says whether there is an `output` to be read.
    """
    tree = parse(source)
    builder = Builder(tree, SEARCHES)
    run = builder.build(tree.root)
    _refuse(tree, builder.calls, CLOCK_FUNCTIONS, "A search cannot depend on the time of searching; it uses")
    if not outputs and "output" in builder.roots:
        raise ExpressionError("Events have no `output`: a search through events reads `event`")
    return Search(source, frozenset(builder.roots), tuple(_demands(tree)), run, builder.slots)


def _refuse(tree: Tree, calls: Mapping[str, int], names: frozenset[str], sentence: str) -> None:
    for name in sorted(names & calls.keys()):
        raise located(f"{sentence} {name}", tree.source, calls[name])


def _demands(tree: Tree) -> Iterator[Demand]:
    for conjunct in conjuncts(tree.root):
        left, right = conjunct.call_expr.args
        for side, other in ((left, right), (right, left)):
            path = path_of(side)
            if path is not None and path[0] in SEARCHES:
                yield from _demand(tree, path, other)
                break


def _demand(tree: Tree, path: tuple[str, tuple[str, ...]], other: Any) -> Iterator[Demand]:
    builder = Builder(tree, SEARCHES)
    run = builder.build(other)
    if builder.roots or CLOCK_FUNCTIONS & builder.calls.keys():
        return
    try:
        value = run_closure(run, tree.source, Frame(None, None, None, builder.slots))
    except ExpressionError:
        return
    yield Demand(*path, value)
