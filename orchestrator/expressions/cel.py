"""Compile an expression once, evaluate it against many events.

Theory: programs are kept in a cache bounded by their number and by the characters of their sources, since the closures
of a long source take memory in proportion.  A program is immutable and may be used by many threads at once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestrator.errors import ExpressionError
from orchestrator.expressions.closures import Builder, Run
from orchestrator.expressions.frame import Fault, Frame
from orchestrator.expressions.parse import located, parse
from orchestrator.expressions.terms import Equality, equalities
from orchestrator.expressions.texts import text
from orchestrator.expressions.values import spoken

MAX_PROGRAMS = 2_048
MAX_CACHED_CHARACTERS = 1_000_000

_COMPARISONS = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in"})
_RESTRICTED_CALLS = _COMPARISONS | {"_&&_", "_||_", "!_", "_?_:_", "_[_]", "int", "uint", "double"}


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A compiled expression."""

    source: str
    uses_macros: bool
    #: The top-level variables it reads: event, async, vars.
    roots: frozenset[str]
    #: The functions, operators and macros it calls, with the offset of the first use.
    calls: Mapping[str, int] = field(repr=False)
    #: What must be equal for it to be true, for the index of pauses.
    equalities: tuple[Equality, ...] = field(repr=False)
    _run: Run = field(repr=False)
    _slots: int = field(repr=False)

    def evaluate(self, event: Any, async_: Any = None, *, now: datetime | None = None) -> Any:
        """Compute the value for an event; raise ExpressionError when it has none or takes too much work.

        The value may be part of the event or of the program: do not change it.
        """
        return run_closure(self._run, self.source, Frame(event, async_, now, self._slots))

    def truth(self, event: Any, async_: Any = None, *, now: datetime | None = None) -> bool:
        """Compute a condition; raise ExpressionError when the value is not a boolean."""
        value = self.evaluate(event, async_, now=now)
        if value is True or value is False:
            return bool(value)
        raise ExpressionError(
            f"The condition gives {spoken(value)} where it must give true or false: {self.source[:200]}"
        )


class _Cache:
    """The programs used last."""

    def __init__(self) -> None:
        self._programs: OrderedDict[str, Program] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._programs)

    def get(self, source: str) -> Program | None:
        with self._lock:
            program = self._programs.get(source)
            if program is not None:
                self._programs.move_to_end(source)
            return program

    def put(self, program: Program) -> None:
        with self._lock:
            if program.source in self._programs:
                return
            self._programs[program.source] = program
            self._characters += len(program.source)
            while len(self._programs) > MAX_PROGRAMS or self._characters > MAX_CACHED_CHARACTERS:
                source, _ = self._programs.popitem(last=False)
                self._characters -= len(source)


_cache = _Cache()


def compile_expression(source: str) -> Program:
    """Compile an expression, or take it from the cache; raise ExpressionError telling what is wrong and where."""
    program = _cache.get(source)
    if program is None:
        program = _compile(source)
        _cache.put(program)
    return program


def check_restricted(program: Program) -> None:
    """Refuse what a cancel condition may not use: macros, and all functions but int, uint and double."""
    for name, offset in program.calls.items():
        if name not in _RESTRICTED_CALLS:
            spoken_name = f"`{name.strip('_@')}`" if name.startswith(("_", "-")) else name
            sentence = "A condition for cancelling may only compare, combine and index values"
            raise located(f"{sentence}; it uses {spoken_name}", program.source, offset)


def key_text(value: Any) -> str:
    """Write the value of a key expression as text; null is empty, 1.0 is 1, lists and maps are compact JSON."""
    try:
        return text(value)
    except RecursionError:
        raise ExpressionError("The key is nested too deeply to be written as text") from None


def run_closure(run: Run, source: str, frame: Frame) -> Any:
    """Run a closure, so that whatever an expression can do wrong comes out as ExpressionError."""
    try:
        return run(frame)
    except Fault as fault:
        raise ExpressionError(f"{fault}: {source[:200]}") from None
    except RecursionError:
        raise ExpressionError(f"The values are nested too deeply to be compared or written: {source[:200]}") from None


def _compile(source: str) -> Program:
    tree = parse(source)
    builder = Builder(tree)
    run = builder.build(tree.root)
    return Program(
        source=source,
        uses_macros=builder.uses_macros,
        roots=frozenset(builder.roots),
        calls=dict(builder.calls),
        equalities=tuple(equalities(tree)),
        _run=run,
        _slots=builder.slots,
    )
