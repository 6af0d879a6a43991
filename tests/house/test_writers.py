"""Whoever opens a transaction does it again when the database took it back for another one's sake, or says why not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2].resolve()
ROOMS = ("orchestrator/engine", "orchestrator/queue", "orchestrator/store", "orchestrator/attach", "orchestrator/cli")
#: Names of a database, and the methods of it that open a transaction to write.
DATABASES, WRITES = {"database", "_database"}, {"write", "write_one"}
SAID = {"undisturbed", "disturbable"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def writes(node: ast.With | ast.AsyncWith) -> bool:
    """Whether a block is a writing transaction."""
    for item in node.items:
        opened = item.context_expr
        for call in ast.walk(opened):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            owner = call.func.value
            name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            if call.func.attr == "_transaction" or (call.func.attr in WRITES and name in DATABASES):
                return True
    return False


def says(function: Function) -> bool:
    """Whether a function is done again, or says why it is not."""
    names = [it.func if isinstance(it, ast.Call) else it for it in function.decorator_list]
    return any(isinstance(name, ast.Name) and name.id in SAID for name in names)


def silent(text: str) -> Iterator[tuple[int, str]]:
    """The writers of a file that say nothing: their lines and names."""

    def look(node: ast.AST, around: tuple[Function, ...]) -> Iterator[tuple[int, str]]:
        if isinstance(node, Function):
            around = (*around, node)
        if isinstance(node, ast.With | ast.AsyncWith) and writes(node) and not any(map(says, around)):
            yield node.lineno, around[-1].name if around else "the module"
        for child in ast.iter_child_nodes(node):
            yield from look(child, around)

    yield from look(ast.parse(text), ())


def _files(*rooms: str) -> list[Path]:
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


def test_every_writer_is_undisturbed_or_says_why_not() -> None:
    files = _files(*ROOMS, "workers")

    found = [
        f"{path.relative_to(ROOT)}:{line}: {name} opens a transaction: put @undisturbed on it, or @disturbable(why)"
        for path in files
        for line, name in silent(path.read_text())
    ]

    assert len(files) > 150
    assert [] == found


def test_no_route_opens_a_transaction_to_write() -> None:
    """What a route does and the note of who did it are one use case, and so one transaction, of the engine."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: let a verb of the engine do this"
        for path in _files("api")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.With) and writes(node)
    ]

    assert [] == found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def f():\n with parts.database.write() as conn:\n  pass", ["f"]),
        ("def f(self):\n with self._database.write_one():\n  pass", ["f"]),
        ("def f():\n with database.read() if hot else database.write():\n  pass", ["f"]),
        ("@undisturbed\ndef f():\n with database.write():\n  pass", []),
        ("@disturbable('why')\ndef f():\n with database.write():\n  pass", []),
        ("@undisturbed\ndef f():\n def g():\n  with database.write():\n   pass", []),
        ("@other\ndef f():\n with database.write():\n  pass", ["f"]),
        ("def f():\n with database.read():\n  pass", []),
        ("def f():\n with file.write():\n  pass", []),
    ],
)
def test_the_look_at_the_code_sees_what_it_should(code: str, found: list[str]) -> None:
    assert found == [name for _, name in silent(code)]
