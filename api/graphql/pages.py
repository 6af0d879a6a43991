"""Pages of what was searched for, as connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from orchestrator.errors import RequestError
from orchestrator.store.filters import Page

T = TypeVar("T")

#: The most items of one page.
MOST_FIRST = 100
#: In one list of a filter.
_MOST_NAMED = 100
#: Whoever counts what a condition finds searches for so long, for so many at once.
_PATIENCE = 2.0
_TOGETHER = 400


def check_first(first: int, name: str = "first") -> None:
    """Raise `RequestError` for a page of no size, or too large a one."""
    if not 1 <= first <= MOST_FIRST:
        raise RequestError(f"{name} must be from 1 to {MOST_FIRST}, not {first}")


def some_of(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Read a list of a filter; empty: it does not matter.  Raises `RequestError` for a long one."""
    found = tuple(dict.fromkeys(given.get(name) or ()))
    if len(found) > _MOST_NAMED:
        raise RequestError(f"{name} names {len(found)} things, the limit is {_MOST_NAMED}")
    return found


def connection(page: Page[T], after: str | None, count: Callable[[], int]) -> dict[str, object]:
    """Write a page; its items are only counted where that is asked for."""
    return {
        "edges": [{"node": node, "cursor": cursor} for node, cursor in zip(page.items, page.cursors, strict=True)],
        "pageInfo": {
            "hasNextPage": page.has_next,
            "hasPreviousPage": bool(after),
            "startCursor": page.cursors[0] if page.cursors else None,
            "endCursor": page.end_cursor,
        },
        "totalCount": lambda _info: count(),
    }


def counted(search: Callable[[str | None, int], Page[T]]) -> int:
    """How many a search finds, as far as that comes in a while: a condition is tried on one row after the other."""
    until, number, cursor = time.monotonic() + _PATIENCE, 0, None
    while True:
        page = search(cursor, _TOGETHER)
        number, cursor = number + len(page.items), page.end_cursor
        if not page.has_next or cursor is None or time.monotonic() >= until:
            return number
