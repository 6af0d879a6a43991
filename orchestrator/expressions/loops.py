"""The macros all, exists, exists_one, map and filter as loops that charge every round.

Theory: the parser hands a macro over as a general fold.  Which macro it was shows in how the accumulator starts and
steps, and each gets its own loop, because folding a map() literally would copy the list in every round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from orchestrator.expressions.frame import Fault, Frame
from orchestrator.expressions.values import spoken

if TYPE_CHECKING:
    from orchestrator.expressions._ast.syntax_pb2 import Expr
    from orchestrator.expressions.closures import Builder, Run

_NODES_PER_UNIT = 8


def build_loop(builder: Builder, node: Expr) -> Run:
    """Turn a macro into its loop; the loop variable gets a slot of the frame."""
    loop, step = node.comprehension_expr, node.comprehension_expr.loop_step.call_expr
    builder.uses_macros = True
    offset = builder.tree.offset(node)
    builder.calls.setdefault(builder.tree.name_at(offset), offset)
    items = _items(builder.build(loop.iter_range))
    outer, slot, nodes_before = builder.scope, len(builder.scope), builder.nodes
    # Slots are handed out by depth: a variable that shadows another still needs a slot of its own.
    slot = max([slot, *(taken + 1 for taken in outer.values())])
    builder.scope = {**outer, loop.iter_var: slot}
    builder.slots = max(builder.slots, slot + 1)
    accumulator = loop.accu_init.WhichOneof("expr_kind")
    if accumulator == "list_expr":
        run = _collect(builder, step, items, slot, nodes_before)
    elif step.function == "_?_:_":
        run = _exactly_one(builder, step, items, slot, nodes_before)
    else:
        run = _search(builder, step, items, slot, nodes_before)
    builder.scope = outer
    return builder.guarded(run, node)


def _items(source: Run) -> Callable[[Frame], Iterable[Any]]:
    def items(frame: Frame) -> Iterable[Any]:
        found = source(frame)
        if found is None:
            return ()
        if type(found) is list or type(found) is dict:
            return found
        raise Fault(f"Only a list or a map can be looped over, not {spoken(found)}")

    return items


def _weight(builder: Builder, nodes_before: int) -> int:
    return 1 + (builder.nodes - nodes_before) // _NODES_PER_UNIT


def _search(builder: Builder, step: Any, items: Callable[[Frame], Iterable[Any]], slot: int, before: int) -> Run:
    """all() looks for an element that fails, exists() for one that holds."""
    sought = step.function == "_||_"
    predicate = builder.build(step.args[1])
    weight = _weight(builder, before)

    def search(frame: Frame) -> bool:
        for item in items(frame):
            frame.charge(weight)
            frame.locals[slot] = item
            if bool(predicate(frame)) is sought:
                return sought
        return not sought

    return search


def _exactly_one(builder: Builder, step: Any, items: Callable[[Frame], Iterable[Any]], slot: int, before: int) -> Run:
    predicate = builder.build(step.args[0])
    weight = _weight(builder, before)

    def exactly_one(frame: Frame) -> bool:
        count = 0
        for item in items(frame):
            frame.charge(weight)
            frame.locals[slot] = item
            count += bool(predicate(frame))
        return count == 1

    return exactly_one


def _collect(builder: Builder, step: Any, items: Callable[[Frame], Iterable[Any]], slot: int, before: int) -> Run:
    predicate = builder.build(step.args[0]) if step.function == "_?_:_" else None
    append = step.args[1].call_expr if predicate is not None else step
    transform = builder.build(append.args[1].list_expr.elements[0])
    weight = _weight(builder, before)

    def collect(frame: Frame) -> list[Any]:
        collected: list[Any] = []
        for item in items(frame):
            frame.charge(weight)
            frame.locals[slot] = item
            if predicate is None or predicate(frame):
                collected.append(transform(frame))
        return collected

    return collect
