"""The loosened operators: what comparing, adding and indexing mean for values that came from JSON.

Theory: strict CEL refuses to mix types and to read what is not there; conditions are written against events whose
shape varies.  So null stands for anything missing and counts as the zero value in order and arithmetic, equality of
unlike types is false, their order is false too, and + of unlike types joins their texts.  A boolean is never a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.expressions.frame import Fault, Frame
from orchestrator.expressions.texts import text

NUMBERS = frozenset({int, float})
_LEAST_INTEGER, _GREATEST_INTEGER = -(2**63), 2**64 - 1
_ZEROES: dict[type, Any] = {
    bool: False,
    int: 0,
    float: 0,
    str: "",
    bytes: b"",
    timedelta: timedelta(0),
    datetime: datetime(1, 1, 1, tzinfo=UTC),
}


@dataclass(frozen=True, slots=True)
class TypeName:
    """The answer of type(x), and what a bare type name such as `int` means."""

    name: str


TYPE_NAMES: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    type(None): "null_type",
    datetime: "timestamp",
    timedelta: "duration",
    TypeName: "type",
}
_SPOKEN = {
    "bool": "a boolean",
    "int": "a number",
    "double": "a number",
    "string": "a text",
    "list": "a list",
    "map": "a map",
    "null_type": "null",
    "type": "a type",
}


def spoken(value: Any) -> str:
    """Name a value's type in a sentence."""
    name = TYPE_NAMES.get(type(value), type(value).__name__)
    return _SPOKEN.get(name, f"a {name}")


def shown(value: Any) -> str:
    """Show a value in a sentence: the beginning of a text, a number, or what kind of thing it is."""
    if type(value) is str:
        return repr(value[:40])
    return repr(value) if type(value) is float else spoken(value)


def equal(left: Any, right: Any, frame: Frame) -> bool:
    """Compare by value; numbers agree across int and float, unlike types never do."""
    left_type, right_type = type(left), type(right)
    if left_type is not right_type:
        return left_type in NUMBERS and right_type in NUMBERS and bool(left == right)
    if left_type is str:
        frame.charge_text(len(left))
    elif left_type is list:
        frame.charge(1 + len(left))
        return len(left) == len(right) and all(equal(a, b, frame) for a, b in zip(left, right, strict=True))
    elif left_type is dict:
        frame.charge(1 + len(left))
        return left.keys() == right.keys() and all(equal(value, right[key], frame) for key, value in left.items())
    return bool(left == right)


def ordered(compare: Callable[[Any, Any], bool], left: Any, right: Any, frame: Frame) -> bool:
    """Order two values; null counts as the other side's zero value, and unlike types have no order."""
    if left is None and right is None:
        return compare(0, 0)
    if left is None:
        left = _ZEROES.get(type(right))
    elif right is None:
        right = _ZEROES.get(type(left))
    left_type, right_type = type(left), type(right)
    if left_type in NUMBERS and right_type in NUMBERS:
        return compare(left, right)
    if left_type is not right_type or left_type not in _ZEROES:
        return False
    if left_type is str:
        frame.charge_text(min(len(left), len(right)))
    return compare(left, right)


def contains(needle: Any, container: Any, frame: Frame) -> bool:
    """Answer `needle in container`: an element of a list or a key of a map; nothing is in null."""
    if type(container) is dict:
        return type(needle) in (str, int, float) and needle in container
    if type(container) is list:
        frame.charge(len(container) // 2)
        return any(equal(needle, element, frame) for element in container)
    if container is None:
        return False
    raise Fault(f"`in` needs a list or a map on its right, not {spoken(container)}")


def element(container: Any, key: Any) -> Any:
    """Index a list or a map; whatever is not there is null."""
    key_type = type(key)
    if type(container) is dict and key_type in (str, int, float):
        return container.get(key)
    if type(container) is list and key_type in NUMBERS and 0 <= key < len(container) and key == int(key):
        return container[int(key)]
    return None


def bounded(number: int | float) -> int | float:
    """Refuse whole numbers beyond 64 bits, which could be squared into all of memory."""
    if type(number) is int and not _LEAST_INTEGER <= number <= _GREATEST_INTEGER:
        raise Fault("The whole number does not fit into 64 bits")
    return number


def add(left: Any, right: Any, frame: Frame) -> Any:
    """Add numbers, times and lists, join texts, and join the texts of unlike values; null adds nothing."""
    left_type, right_type = type(left), type(right)
    if left_type in NUMBERS and right_type in NUMBERS:
        return bounded(left + right)
    if left is None or right is None:
        return left if right is None else right
    if left_type is list and right_type is list:
        frame.charge(len(left) + len(right))
        return left + right
    if timedelta in (left_type, right_type) and {left_type, right_type} <= {timedelta, datetime}:
        return left + right
    return written(left, frame) + written(right, frame)


def subtract(left: Any, right: Any, frame: Frame) -> Any:
    """Subtract numbers and times; null subtracts nothing."""
    if right is None:
        return left
    if left is None:
        left = 0 if type(right) in NUMBERS else timedelta(0)
    kinds = (type(left), type(right))
    if kinds[0] in NUMBERS and kinds[1] in NUMBERS:
        return bounded(left - right)
    if kinds in ((datetime, datetime), (datetime, timedelta), (timedelta, timedelta)):
        return left - right
    raise Fault(f"`-` cannot take {spoken(right)} from {spoken(left)}")


def multiply(left: Any, right: Any, frame: Frame) -> Any:
    """Multiply numbers; null counts as 0."""
    return bounded(_number(left, "*") * _number(right, "*"))


def divide(left: Any, right: Any, frame: Frame) -> Any:
    """Divide numbers as JSON does, to a fraction; a float divides by zero to infinity, a whole number not at all."""
    left, right = _number(left, "/"), _number(right, "/")
    if right == 0:
        return _divide_by_zero(left, right)
    quotient = left / right
    return int(left // right) if type(left) is type(right) is int and left % right == 0 else quotient


def divide_whole(left: Any, right: Any, frame: Frame) -> Any:
    """Divide two numbers known to be whole when the expression was compiled, dropping the remainder as CEL does."""
    left, right = _number(left, "/"), _number(right, "/")
    if right == 0:
        raise Fault("`/` cannot divide by zero")
    quotient = abs(left) // abs(right)
    return bounded(quotient if (left < 0) == (right < 0) else -quotient)


def remainder(left: Any, right: Any, frame: Frame) -> Any:
    """Take what a division leaves, with the sign of the left side."""
    left, right = _number(left, "%"), _number(right, "%")
    if right == 0 or left in (float("inf"), float("-inf")):
        raise Fault("`%` cannot divide by zero or divide infinity")
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def negate(value: Any, frame: Frame) -> Any:
    """Turn the sign of a number or a duration; null counts as 0."""
    return -value if type(value) is timedelta else bounded(-_number(value, "-"))


def written(value: Any, frame: Frame) -> str:
    """Write a value as text at the cost of its length."""
    result = text(value)
    if type(value) in (list, dict):
        frame.charge_json(len(result))
    else:
        frame.charge_text(len(result))
    return result


def _number(value: Any, operator: str) -> Any:
    if value is None:
        return 0
    if type(value) not in NUMBERS:
        raise Fault(f"`{operator}` needs numbers, not {spoken(value)}")
    return value


def _divide_by_zero(left: Any, right: Any) -> float:
    if type(left) is int and type(right) is int:
        raise Fault("`/` cannot divide by zero")
    if left == 0 or left != left:
        return float("nan")
    return math.copysign(float("inf"), left) * math.copysign(1.0, right)
