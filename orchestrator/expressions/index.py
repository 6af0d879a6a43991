"""Equality terms: what a candidate event must hold for a waiting pause to be worth evaluating.

Theory: with 100 000 pauses waiting for one event name, evaluating every condition is too slow.  Nearly all of them ask
for an equality, so a pause is stored under its terms and a candidate looks up the few that can match.  Soundness is the
law: an event that makes the condition true satisfies every term; a term that cannot promise this is left out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import Program, run_closure
from orchestrator.expressions.frame import Frame

_LONGEST_TEXT = 128
_LARGEST_WHOLE = 2**64


@dataclass(frozen=True, slots=True)
class Term:
    """The candidate event's value at the path must have this key."""

    path: tuple[str, ...]
    value: str

    def holds(self, candidate: Any) -> bool:
        """Tell whether a candidate event satisfies the term."""
        return term_key(value_at(candidate, self.path)) == self.value


def equality_terms(program: Program, event: Any) -> tuple[Term, ...]:
    """List the terms every candidate must satisfy for the program to be true with this event."""
    terms: dict[Term, None] = {}
    slots = max((equality.slots for equality in program.equalities), default=0)
    frame = Frame(event, None, None, slots)
    for equality in program.equalities:
        try:
            key = term_key(run_closure(equality.other, program.source, frame))
        except ExpressionError:
            continue
        if key is not None:
            terms[Term(equality.path, key)] = None
    return tuple(terms)


def value_at(event: Any, path: tuple[str, ...]) -> Any:
    """Read a path as an expression does: whatever is missing is null."""
    for key in path:
        if not isinstance(event, dict):
            return None
        event = event.get(key)
    return event


def term_key(value: Any) -> str | None:
    """Write a value so that equal values have equal keys; None for kinds that are not indexed, such as lists."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "b:true" if value else "b:false"
    if type(value) in (int, float):
        return _number_key(value)
    return _text_key(value) if type(value) is str else None


def _number_key(value: int | float) -> str | None:
    if value != value:
        return None
    if abs(value) <= _LARGEST_WHOLE and value == int(value):
        return f"n:{int(value)}"
    # Beyond 64 bits a whole number and a float may be equal without being written alike.
    return None if abs(value) > _LARGEST_WHOLE else f"n:{value!r}"


def _text_key(value: str) -> str:
    # Long texts do not fit an indexed column, and some databases refuse NUL and lone surrogates.
    if len(value) <= _LONGEST_TEXT and value.isprintable():
        return f"s:{value}"
    return f"h:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"
