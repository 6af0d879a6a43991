"""The equality conjuncts of an expression, found when it is compiled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.expressions.closures import Builder, Run
from orchestrator.expressions.functions import CLOCK_FUNCTIONS
from orchestrator.expressions.parse import Tree
from orchestrator.expressions.paths import path_of

if TYPE_CHECKING:
    from orchestrator.expressions._ast.syntax_pb2 import Expr


@dataclass(frozen=True, slots=True)
class Equality:
    """`async.<path> == <other>`, where the other side does not read `async`."""

    path: tuple[str, ...]
    other: Run
    slots: int


def equalities(tree: Tree) -> Iterator[Equality]:
    """List the equalities of the outermost && chain that compare a path of `async` with something known before."""
    for conjunct in conjuncts(tree.root):
        left, right = conjunct.call_expr.args
        for side, other in ((left, right), (right, left)):
            path = path_of(side)
            if path is not None and path[0] == "async" and path[1]:
                found = _equality(tree, path[1], other)
                if found is not None:
                    yield found
                break


def conjuncts(node: Expr) -> Iterator[Expr]:
    """List the equalities of the outermost && chain."""
    if node.WhichOneof("expr_kind") != "call_expr":
        return
    if node.call_expr.function == "_&&_":
        for arg in node.call_expr.args:
            yield from conjuncts(arg)
    elif node.call_expr.function == "_==_":
        yield node


def _equality(tree: Tree, path: tuple[str, ...], other: Expr) -> Equality | None:
    builder = Builder(tree)
    run = builder.build(other)
    if "async" in builder.roots or CLOCK_FUNCTIONS & builder.calls.keys():
        return None
    return Equality(path, run, builder.slots)
