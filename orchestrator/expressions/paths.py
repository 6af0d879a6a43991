"""Reading small facts off a syntax tree: constants, and paths such as event.data["id"]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.expressions._ast.syntax_pb2 import Expr

Path = tuple[str, tuple[str, ...]]


def is_constant(node: Expr) -> bool:
    """Tell whether a node is a literal."""
    return bool(node.WhichOneof("expr_kind") == "const_expr")


def constant(node: Expr) -> Any:
    """Give the value of a literal."""
    kind = node.const_expr.WhichOneof("constant_kind")
    return None if kind is None or kind == "null_value" else getattr(node.const_expr, kind)


def path_of(node: Expr) -> Path | None:
    """Split a chain of attributes and text indices into its root and keys; None when it is anything else."""
    keys: list[str] = []
    while True:
        kind = node.WhichOneof("expr_kind")
        if kind == "ident_expr":
            return node.ident_expr.name.removeprefix("."), tuple(reversed(keys))
        if kind == "select_expr" and not node.select_expr.test_only:
            keys.append(node.select_expr.field)
            node = node.select_expr.operand
        elif kind == "call_expr" and node.call_expr.function == "_[_]" and _text_index(node) is not None:
            keys.append(_text_index(node) or "")
            node = node.call_expr.args[0]
        else:
            return None


def _text_index(node: Expr) -> str | None:
    key = node.call_expr.args[1]
    found = constant(key) if is_constant(key) else None
    return found if isinstance(found, str) else None
