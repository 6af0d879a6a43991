"""JSON objects that are handed on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import RequestError, TooLargeError
from orchestrator.protocol.events import EventLimits


def json_object(name: str, value: Mapping[str, Any] | None, limits: EventLimits) -> str | None:
    """Write an object as JSON text, bounded as an event is; None: there is none.

    Raises `RequestError`, and `TooLargeError`.
    """
    if value is None:
        return None
    _check_depth(name, value, limits.depth)
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise RequestError(f"{name} has a number that JSON does not know") from None
    size = len(text.encode())
    if size > limits.event_bytes:
        raise TooLargeError(f"{name} has {size} bytes, the limit is {limits.event_bytes} bytes")
    return text


def _check_depth(name: str, value: object, most: int) -> None:
    level = [value]
    for _ in range(most):
        level = [below for it in level for below in _members(it)]
        if not level:
            return
    raise RequestError(f"{name} is nested deeper than the limit of {most} levels")


def _members(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []
