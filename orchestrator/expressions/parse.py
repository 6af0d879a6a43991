"""Text to syntax tree: the one place that knows which parser is used.

Theory: the parser is Google's C++ one, used for parsing only; its tree arrives serialised and is read with a small
protobuf module of our own.  Both are loaded with the first expression, as they cost more than all the rest here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ExpressionError
from orchestrator.expressions.literals import Mended, mend

if TYPE_CHECKING:
    from orchestrator.expressions._ast.syntax_pb2 import Expr

MAX_SOURCE = 32_768
MAX_NESTING = 32

_EXCERPT = 24
_REPORT = re.compile(r"<input>:(\d+):(\d+): (.*?)(?: \[[A-Z_]+\])?(?:\n|$)", re.DOTALL)
_NAME = re.compile(r"\w+\s*$")
_LONGEST_NAME = 64
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_TOO_DEEP = f"The expression is nested more than {MAX_NESTING} levels deep; a chain of + or . counts one level each"


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed expression, and where in its source each node stands."""

    source: str
    root: Expr
    _mended: Mended
    _positions: Mapping[int, int]

    def offset(self, node: Expr) -> int:
        """Tell where in the source a node stands; a function or a macro stands at its name."""
        offset = self._mended.original(self._positions.get(node.id, 0))
        named = self.source.startswith("(", offset) and _NAME.search(
            self.source[max(0, offset - _LONGEST_NAME) : offset]
        )
        return offset - len(named[0]) if named else offset

    def name_at(self, offset: int) -> str:
        """Read the name of the function or macro that stands at an offset."""
        return self.source[offset : self.source.index("(", offset)].strip()


def parse(source: str) -> Tree:
    """Parse an expression; raise ExpressionError with a sentence that tells what is wrong and at which column."""
    _check_text(source)
    mended = mend(source)
    envelope, parsed_expr, environment, decode_error = _parser()
    try:
        serialised = environment.compile(mended.text, disable_check=True).serialize()
        parsed = parsed_expr.FromString(envelope.FromString(serialised).value)
    except decode_error:
        raise ExpressionError(_TOO_DEEP) from None
    except (RuntimeError, UnicodeDecodeError) as error:
        raise _refusal(source, mended, str(error)) from None
    return Tree(source, parsed.expr, mended, dict(parsed.source_info.positions))


def located(sentence: str, source: str, offset: int) -> ExpressionError:
    """Build the error whose sentence ends with the place it speaks of."""
    before = source[:offset]
    line, column = before.count("\n") + 1, offset - before.rfind("\n")
    place = f"line {line}, column {column}" if "\n" in source else f"column {column}"
    start, end = max(0, offset - _EXCERPT), offset + _EXCERPT
    excerpt = f"{'…' if start else ''}{source[start:end]}{'…' if end < len(source) else ''}"
    return ExpressionError(f"{sentence}, at {place} of `{' '.join(excerpt.split())}`")


def _check_text(source: str) -> None:
    if not source.strip():
        raise ExpressionError("The expression is empty")
    if len(source) > MAX_SOURCE:
        raise ExpressionError(f"The expression has {len(source)} characters, more than the {MAX_SOURCE} allowed")
    if (found := _NOT_TEXT.search(source)) is not None:
        raise located(f"The expression holds the character {found[0]!r}, which is not text", source, found.start())


@cache
def _parser() -> tuple[Any, Any, Any, type[Exception]]:
    from cel_expr_python import cel
    from google.protobuf.message import DecodeError

    from orchestrator.expressions._ast.syntax_pb2 import Envelope, ParsedExpr

    return Envelope, ParsedExpr, cel.NewEnv(), DecodeError


def _refusal(source: str, mended: Mended, report: str) -> ExpressionError:
    if "recursion" in report:
        return ExpressionError(_TOO_DEEP)
    found = _REPORT.search(report)
    if found is None:
        return ExpressionError(f"The expression cannot be read: {report.splitlines()[0] if report else 'no reason'}")
    line, column, problem = int(found[1]), int(found[2]), found[3]
    lines = mended.text.split("\n")
    in_mended = sum(len(text) + 1 for text in lines[: line - 1]) + column - 1
    offset = min(mended.original(in_mended), len(source))
    return located(_sentence(problem, source, offset), source, offset)


def _sentence(problem: str, source: str, offset: int) -> str:
    """Say the parser's complaint in words a person who writes conditions can use."""
    problem = problem.removeprefix("Syntax error: ")
    if source.startswith(("===", "!=="), max(0, offset - 2)) or source.startswith(("===", "!=="), offset):
        return "The expression uses === or !==; write == or !="
    if "'<EOF>'" in problem and not problem.startswith("extraneous"):
        return "The expression ends too early"
    if problem.startswith("token recognition error") and source[offset : offset + 1] in ("'", '"'):
        return "The expression opens a text that is never closed"
    if problem.startswith("token recognition error"):
        return f"The expression holds a character that means nothing there, {source[offset : offset + 1]!r}"
    if problem.startswith(("mismatched", "extraneous", "no viable", "missing")):
        return "The expression goes on with something unexpected"
    return f"The expression cannot be read: {problem}"
