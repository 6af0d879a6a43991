"""Needles: texts that a row's JSON must hold somewhere for a query to be true of it, so that most rows need no reading.

A needle never decides that a row is found, only that it is not.  So it must not miss: texts are stored as their senders
wrote them, and JSON lets any character be written as an escape.  Hence only texts of characters that have no other
escape than the one by number are looked for, and a row with an escape by number is let through.  So is a large one,
since taking it apart to look into it would cost more than is saved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, LargeBinary, cast, false, func, or_, select

from orchestrator.store.tables import events, runs

#: In bytes; a longer text is large.
LARGE = 65_536

_PLAIN = re.compile(r"[A-Za-z0-9 _.:@+-]{1,200}")
_ESCAPE = "\\u"


@dataclass(frozen=True, slots=True)
class Needle:
    """A text that `event` or `output` must hold as a value."""

    root: Literal["event", "output"]
    text: str


def needle(root: str, value: Any) -> Needle | None:
    """The needle of a value that is demanded; None: it may be written in more than one way."""
    if type(value) is not str or not _PLAIN.fullmatch(value):
        return None
    return Needle("event" if root == "event" else "output", f'"{value}"')


def holds(dialect: str, text: Any, needle: Needle) -> ColumnElement[bool]:
    """Whether a stored text may hold a needle."""
    found = text.contains(needle.text, autoescape=True)
    return or_(size(dialect, text) > LARGE, found, text.contains(_ESCAPE, autoescape=True))


def run_holds(dialect: str, result: Any, needles: Iterable[Needle]) -> list[ColumnElement[bool]]:
    """Whether a run may hold the needles, in its output or its event; those of a batch are all let through."""
    made = list[ColumnElement[bool]]()
    for one in needles:
        if one.root == "output":
            made.append(holds(dialect, func.coalesce(result, ""), one))
        else:
            # One look-up for each run: EXISTS could be turned into reading all events first.
            of_run = select(holds(dialect, events.c.payload, one)).where(events.c.id == runs.c.event_id)
            made.append(or_(runs.c.batch_id.is_not(None), func.coalesce(of_run.scalar_subquery(), false())))
    return made


def size(dialect: str, text: Any) -> ColumnElement[int]:
    """How many bytes a text has, told without reading it."""
    if dialect == "sqlite":
        return func.length(cast(text, LargeBinary))
    return func.octet_length(text)
