"""A syntax tree to Python closures: each node becomes a function of the frame, chosen once, called many times.

Theory: what can be decided when compiling is decided there (names, arity, constant operands, whole-number division), so
that evaluating `event.data.plan == "free"` is three dictionary reads and a comparison.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ExpressionError
from orchestrator.expressions import values
from orchestrator.expressions.frame import Fault, Frame
from orchestrator.expressions.functions import FUNCTIONS, Function, compile_pattern
from orchestrator.expressions.loops import build_loop
from orchestrator.expressions.parse import Tree, located
from orchestrator.expressions.paths import constant, is_constant, path_of

if TYPE_CHECKING:
    from orchestrator.expressions._ast.syntax_pb2 import Expr

Run = Callable[[Frame], Any]

#: What a trigger, a wait or a key reads: `async` is the event that is waited for.
WAITS: Mapping[str, str] = {"event": "event", "async": "async", "vars": "vars"}
#: What a search through runs reads.
SEARCHES: Mapping[str, str] = {"event": "event", "output": "async"}
_READS = (
    "an expression reads `event`, or `async` in a wait",
    "a search reads `event`, and `output` where runs are searched",
)
TYPE_DENOTATIONS = frozenset(values.TYPE_NAMES.values()) | {"uint"}

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any, Frame], Any]] = {
    "_+_": values.add,
    "_-_": values.subtract,
    "_*_": values.multiply,
    "_/_": values.divide,
    "_%_": values.remainder,
    "@in": values.contains,
}
_WHOLE_RESULTS = frozenset({"int", "uint", "size"})


class Builder:
    """Builds the closures of one tree and notes what the tree uses."""

    def __init__(self, tree: Tree, roots: Mapping[str, str] = WAITS) -> None:
        """`roots` are the variables there are, each with the place in the frame that holds its value."""
        self.tree = tree
        self.variables = roots
        self.roots: set[str] = set()
        self.calls: dict[str, int] = {}
        self.uses_macros = False
        self.nodes = 0
        self.slots = 0
        self.scope: dict[str, int] = {}

    def build(self, node: Expr) -> Run:
        """Turn a node and all below it into one closure."""
        self.nodes += 1
        return _KINDS[node.WhichOneof("expr_kind")](self, node)

    def error(self, sentence: str, node: Expr) -> ExpressionError:
        """Build the error that points at a node."""
        return located(sentence, self.tree.source, self.tree.offset(node))

    def guarded(self, run: Run, node: Expr) -> Run:
        """Give the faults of a closure the place of its node."""
        source, offset = self.tree.source, self.tree.offset(node)

        def guarded(frame: Frame) -> Any:
            try:
                return run(frame)
            except Fault as fault:
                raise located(str(fault), source, offset) from None
            except OverflowError:
                raise located("The result is out of range", source, offset) from None

        return guarded


def _constant(builder: Builder, node: Expr) -> Run:
    value = constant(node)
    return lambda frame: value


def _name(builder: Builder, node: Expr) -> Run:
    name = node.ident_expr.name.removeprefix(".")
    if name in builder.scope:
        slot = builder.scope[name]
        return lambda frame: frame.locals[slot]
    if name in builder.variables:
        builder.roots.add(name)
        return _ROOT_READERS[builder.variables[name]]
    if name in TYPE_DENOTATIONS:
        denoted = values.TypeName(name)
        return lambda frame: denoted
    raise builder.error(f"There is no `{name[:40]}` here; {_READS[builder.variables is SEARCHES]}", node)


def _select(builder: Builder, node: Expr) -> Run:
    select = node.select_expr
    if select.test_only:
        builder.uses_macros = True
        builder.calls.setdefault("has", builder.tree.offset(node))
        operand, name = builder.build(select.operand), select.field
        return lambda frame: isinstance(holder := operand(frame), dict) and name in holder
    path = path_of(node)
    if path is not None and path[0] in builder.variables and path[0] not in builder.scope:
        builder.roots.add(path[0])
        builder.nodes += len(path[1])
        return _PATH_READERS[builder.variables[path[0]]](path[1])
    return _field(builder.build(select.operand), select.field)


def _field(operand: Run, name: str) -> Run:
    def field(frame: Frame) -> Any:
        holder = operand(frame)
        return holder.get(name) if isinstance(holder, dict) else None

    return field


def _event_path(keys: tuple[str, ...]) -> Run:
    def read(frame: Frame) -> Any:
        value = frame.event
        for key in keys:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    return read


def _async_path(keys: tuple[str, ...]) -> Run:
    def read(frame: Frame) -> Any:
        value = frame.async_
        for key in keys:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    return read


def _nothing(frame: Frame) -> Any:
    return None


def _call(builder: Builder, node: Expr) -> Run:
    call = node.call_expr
    builder.calls.setdefault(call.function, builder.tree.offset(node))
    if call.function in _OPERATORS:
        return _OPERATORS[call.function](builder, node)
    if call.function in _COMPARISONS:
        return _comparison(builder, node)
    if call.function in _ARITHMETIC:
        return _arithmetic(builder, node)
    return _function(builder, node)


def _flattened(node: Expr, function: str) -> list[Expr]:
    """List the operands of a chain of one operator, which the parser hands over as a balanced tree."""
    if node.WhichOneof("expr_kind") != "call_expr" or node.call_expr.function != function:
        return [node]
    return [operand for arg in node.call_expr.args for operand in _flattened(arg, function)]


def _and(builder: Builder, node: Expr) -> Run:
    *leading, last = [builder.build(operand) for operand in _flattened(node, "_&&_")]

    def run(frame: Frame) -> Any:
        for operand in leading:
            value = operand(frame)
            if not value:
                return value
        return last(frame)

    return run


def _or(builder: Builder, node: Expr) -> Run:
    *leading, last = [builder.build(operand) for operand in _flattened(node, "_||_")]

    def run(frame: Frame) -> Any:
        for operand in leading:
            value = operand(frame)
            if value:
                return value
        return last(frame)

    return run


def _not(builder: Builder, node: Expr) -> Run:
    operand = builder.build(node.call_expr.args[0])
    return lambda frame: not operand(frame)


def _ternary(builder: Builder, node: Expr) -> Run:
    condition, yes, no = [builder.build(arg) for arg in node.call_expr.args]
    return lambda frame: yes(frame) if condition(frame) else no(frame)


def _equals(builder: Builder, node: Expr) -> Run:
    left, right = node.call_expr.args
    if is_constant(left):
        left, right = right, left
    run, other = builder.build(left), builder.build(right)
    if is_constant(right):
        return _equals_constant(run, constant(right))
    equal = values.equal
    return lambda frame: equal(run(frame), other(frame), frame)


def _equals_constant(run: Run, value: Any) -> Run:
    if value is None or type(value) is bool:
        return lambda frame: run(frame) is value
    if type(value) in values.NUMBERS:
        return lambda frame: bool((found := run(frame)) == value) and type(found) is not bool
    return lambda frame: bool(run(frame) == value)


def _differs(builder: Builder, node: Expr) -> Run:
    equals = _equals(builder, node)
    return lambda frame: not equals(frame)


def _comparison(builder: Builder, node: Expr) -> Run:
    compare, numbers, ordered = _COMPARISONS[node.call_expr.function], values.NUMBERS, values.ordered
    left_run, right_run = [builder.build(arg) for arg in node.call_expr.args]

    def run(frame: Frame) -> Any:
        left, right = left_run(frame), right_run(frame)
        if type(left) in numbers and type(right) in numbers:
            return compare(left, right)
        return ordered(compare, left, right, frame)

    return run


def _arithmetic(builder: Builder, node: Expr) -> Run:
    function = node.call_expr.function
    apply = values.divide_whole if function == "_/_" and _is_whole(node) else _ARITHMETIC[function]
    left, right = [builder.build(arg) for arg in node.call_expr.args]
    return builder.guarded(lambda frame: apply(left(frame), right(frame), frame), node)


def _is_whole(node: Expr) -> bool:
    """Tell whether an expression is a whole number whatever the event: CEL divides only those without a fraction."""
    kind = node.WhichOneof("expr_kind")
    if kind == "const_expr":
        return node.const_expr.WhichOneof("constant_kind") in ("int64_value", "uint64_value")
    if kind != "call_expr":
        return False
    function, args = node.call_expr.function, node.call_expr.args
    arithmetic = function in ("_+_", "_-_", "_*_", "_/_", "_%_", "-_") and all(_is_whole(arg) for arg in args)
    return arithmetic or function in _WHOLE_RESULTS


def _negative(builder: Builder, node: Expr) -> Run:
    operand = builder.build(node.call_expr.args[0])
    return builder.guarded(lambda frame: values.negate(operand(frame), frame), node)


def _index(builder: Builder, node: Expr) -> Run:
    container, key = node.call_expr.args
    if is_constant(key) and type(constant(key)) is str:
        return _field(builder.build(container), constant(key))
    element = values.element
    holder, index = builder.build(container), builder.build(key)
    return lambda frame: element(holder(frame), index(frame))


def _function(builder: Builder, node: Expr) -> Run:
    call = node.call_expr
    function = FUNCTIONS.get(call.function)
    if function is None:
        known = ", ".join(sorted(FUNCTIONS))
        raise builder.error(f"There is no function {call.function[:40]}(); there are {known}", node)
    nodes = ([call.target] if call.HasField("target") else []) + list(call.args)
    if not function.least <= len(nodes) <= function.most:
        takes = " or ".join(str(count) for count in sorted({function.least, function.most}))
        raise builder.error(f"{call.function}() takes {takes} values, here it gets {len(nodes)}", node)
    if call.function == "matches" and is_constant(nodes[1]) and type(constant(nodes[1])) is str:
        _check_pattern(builder, constant(nodes[1]), node)
    return builder.guarded(_application(function, [builder.build(arg) for arg in nodes]), node)


def _check_pattern(builder: Builder, pattern: str, node: Expr) -> None:
    try:
        compile_pattern(pattern)
    except Fault as fault:
        raise builder.error(str(fault), node) from None


def _application(function: Function, arguments: list[Run]) -> Run:
    apply, framed = function.run, function.framed

    def run(frame: Frame) -> Any:
        found = [argument(frame) for argument in arguments]
        for value in found:
            if type(value) is str:
                frame.charge_text(len(value))
        return apply(frame, *found) if framed else apply(*found)

    return run


def _list(builder: Builder, node: Expr) -> Run:
    elements = [builder.build(element) for element in node.list_expr.elements]
    if all(is_constant(element) for element in node.list_expr.elements):
        fixed = [constant(element) for element in node.list_expr.elements]
        return lambda frame: fixed
    return lambda frame: [element(frame) for element in elements]


def _map(builder: Builder, node: Expr) -> Run:
    struct = node.struct_expr
    if struct.message_name:
        raise builder.error(
            f"There is no type `{struct.message_name[:40]}` to build; maps are written {{'key': value}}", node
        )
    entries = [(builder.build(entry.map_key), builder.build(entry.value)) for entry in struct.entries]

    def run(frame: Frame) -> Any:
        built: dict[Any, Any] = {}
        for key_run, value_run in entries:
            key = key_run(frame)
            if type(key) not in (str, int, float):
                raise Fault(f"A map has texts or numbers as keys, not {values.spoken(key)}")
            built[key] = value_run(frame)
        return built

    return builder.guarded(run, node)


_ROOT_READERS: dict[str, Run] = {
    "event": lambda frame: frame.event,
    "async": lambda frame: frame.async_,
    "vars": _nothing,
}
_PATH_READERS: dict[str, Callable[[tuple[str, ...]], Run]] = {
    "event": _event_path,
    "async": _async_path,
    "vars": lambda keys: _nothing,
}
_OPERATORS: dict[str, Callable[[Builder, Expr], Run]] = {
    "_&&_": _and,
    "_||_": _or,
    "!_": _not,
    "-_": _negative,
    "_?_:_": _ternary,
    "_==_": _equals,
    "_!=_": _differs,
    "_[_]": _index,
}
_KINDS: dict[str | None, Callable[[Builder, Expr], Run]] = {
    "const_expr": _constant,
    "ident_expr": _name,
    "select_expr": _select,
    "call_expr": _call,
    "list_expr": _list,
    "struct_expr": _map,
    "comprehension_expr": build_loop,
}
