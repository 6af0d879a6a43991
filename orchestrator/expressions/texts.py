"""How a value is written as text: in keys, in joined texts, and by string()."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.errors import ExpressionError

MAX_PIECES = 200_000
MAX_CHARACTERS = 4_000_000
_LARGEST_PLAIN = 1e21


def text(value: Any) -> str:
    """Write a value as text: null as nothing, a whole float without its point, lists and maps as compact JSON."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if type(value) in (list, dict):
        return _json(value)
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is float:
        return _float(value)
    if type(value) is datetime:
        written = value.astimezone(UTC).isoformat().removesuffix("+00:00")
        return (written.rstrip("0") if "." in written else written) + "Z"
    if type(value) is timedelta:
        return f"{_float(value / timedelta(seconds=1))}s"
    if type(value) is bytes:
        return value.decode("utf-8", "replace")
    return str(getattr(value, "name", value))


def _float(number: float) -> str:
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    return str(int(number)) if number == int(number) and abs(number) < _LARGEST_PLAIN else repr(number)


def _json(value: Any) -> str:
    pieces: list[str] = []
    length = 0
    for piece in _pieces(value):
        pieces.append(piece)
        length += len(piece)
        # Lists built in an expression may hold one list many times: the text grows where the memory did not.
        if len(pieces) > MAX_PIECES or length > MAX_CHARACTERS:
            raise ExpressionError("The list or map is too large to be written as text")
    return "".join(pieces)


def _pieces(value: Any) -> Iterator[str]:
    if type(value) is list:
        yield "["
        for index, item in enumerate(value):
            yield "," if index else ""
            yield from _pieces(item)
        yield "]"
    elif type(value) is dict:
        yield "{"
        for index, (key, item) in enumerate(sorted(value.items(), key=lambda entry: text(entry[0]))):
            yield f"{',' if index else ''}{json.dumps(text(key), ensure_ascii=False)}:"
            yield from _pieces(item)
        yield "}"
    elif value is None:
        yield "null"
    elif type(value) in (bool, int, float):
        yield _scalar(value)
    else:
        yield json.dumps(text(value), ensure_ascii=False)
