"""One evaluation's variables and its budget of work.

Theory: an expression comes from a stranger and may not hang a worker or eat its memory.  Time and memory are spent only
where data is walked or built, so those places charge the frame: a round of a loop by the size of its body, texts and
lists by their length, a regular expression by length times program size.  A unit is about a microsecond.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from orchestrator.errors import ExpressionError

WORK_UNITS = 200_000
CHARACTERS_PER_UNIT = 16
CHARACTERS_PER_UNIT_OF_JSON = 4


class Fault(Exception):  # noqa: N818 - it never leaves the package
    """Something an expression cannot do, as a sentence that does not know its place yet."""


class Frame:
    """The variables of one evaluation: the event, the candidate event, the clock, and the loop variables by slot."""

    __slots__ = ("async_", "event", "locals", "now", "work")

    def __init__(self, event: Any, async_: Any, now: datetime | None, slots: int) -> None:
        self.event = event
        self.async_ = async_
        self.now = now
        self.work = WORK_UNITS
        self.locals: list[Any] = [None] * slots

    def charge(self, units: int) -> None:
        """Take units off the budget; raise ExpressionError when it is used up."""
        self.work -= units
        if self.work < 0:
            raise ExpressionError("The expression does too much work: loop over less, or build shorter texts and lists")

    def charge_json(self, length: int) -> None:
        """Take the cost of writing a list or a map as a text of that length off the budget."""
        self.charge(length // CHARACTERS_PER_UNIT_OF_JSON)

    def charge_text(self, length: int) -> None:
        """Take the cost of reading or building a text of that length off the budget."""
        if length >= CHARACTERS_PER_UNIT:
            self.charge(length // CHARACTERS_PER_UNIT)
