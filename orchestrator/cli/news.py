"""Waiting in the main thread for what signal handlers, and other threads, put into a queue."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")

#: Seconds until a handler runs whose signal came just before a wait.
_PAUSE = 0.2


def heard(news: SimpleQueue[T]) -> T:
    """Wait for the next news.

    In short waits: Python runs handlers between two of its instructions, so that a signal which comes right before a
    wait would be heeded only when that is over, which may be never.
    """
    while True:
        try:
            return news.get(timeout=_PAUSE)
        except Empty:
            continue
