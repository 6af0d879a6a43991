"""Answers of /v2: data in an envelope, pages of lists, and errors as a list."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import orjson
from flask import Response

from orchestrator.api.answers import json_answer
from orchestrator.api.current import current_server
from orchestrator.api.render import Shape, moment

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ListPage:
    """What of a list is shown, and where it goes on (None: nowhere)."""

    items: Sequence[Shape]
    limit: int
    cursor: str | None = None
    #: What else is to be told of a search that was cut short.
    told: Mapping[str, object] | None = None


def one(data: object) -> Response:
    """Answer with one thing."""
    return json_answer(orjson.dumps({"data": data, "metadata": _metadata()}))


def listed(page: ListPage) -> Response:
    """Answer with a page of a list."""
    told: dict[str, object] = {"hasMore": page.cursor is not None, "limit": page.limit}
    if page.cursor is not None:
        told["cursor"] = page.cursor
    told |= lean(page.told or {})
    return json_answer(orjson.dumps({"data": list(page.items), "metadata": _metadata(), "page": told}))


def cut(items: Sequence[T], ids: Sequence[str], after: str | None, limit: int) -> tuple[Sequence[T], str | None]:
    """A page of a short list in the order of its rows' ids: those after `after`, and the cursor of the rest.

    The row that a cursor names may be gone by now.
    """
    begin = bisect_right(ids, after) if after is not None else 0
    shown = items[begin : begin + limit]
    return shown, ids[begin + limit - 1] if len(items) > begin + limit else None


def lean(shape: Mapping[str, object]) -> Shape:
    """Leave out what is not there, as protobuf's JSON does."""
    return {name: value for name, value in shape.items() if value is not None}


def _metadata() -> Shape:
    return {"fetchedAt": moment(current_server().parts.clock.now()), "cachedUntil": None}
