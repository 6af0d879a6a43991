"""Events and outputs, which are kept as the JSON texts they came as, as the values that conditions and keys read."""

from __future__ import annotations

import json
from typing import Any

import orjson

from orchestrator.errors import ExpressionError
from orchestrator.expressions.functions import json_int


def value_of(text: str) -> Any:
    """Read a text that was taken as JSON; a number that no float holds is infinite, as it is to JavaScript.

    Python writes such numbers, and functions return them.  Raises `ExpressionError` for what nothing here reads.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text, parse_int=json_int)
    except (ValueError, RecursionError) as error:
        raise ExpressionError(f"The value cannot be read as JSON: {error}") from None
