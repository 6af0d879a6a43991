"""What a batch of an order came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Done:
    """How many runs it was done to, to how many it could not be, and the last reason why not."""

    done: int = 0
    failed: int = 0
    error: str | None = None
    #: To be called after the commit: it announces, and tells the log.
    after: Callable[[], None] = _nothing
