"""The functions an expression may call, by name: those of standard CEL and the few extra ones.

Theory: a function gets evaluated arguments, the receiver of `x.f()` being the first.  Null, which a missing attribute
is, never makes one fail: predicates are false of it, conversions give the zero value, the rest give null back.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from orchestrator.expressions.frame import Fault, Frame
from orchestrator.expressions.times import getter, shifted, to_duration, to_timestamp
from orchestrator.expressions.values import NUMBERS, TYPE_NAMES, TypeName, shown, spoken, written

MAX_PATTERN = 1_000

_PATTERN_MEMORY = 1 << 20
_PATTERN_UNITS = 50
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?|[+-]?(?:inf(?:inity)?|nan)", re.IGNORECASE
)
_LONGEST_NUMBER = 400
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclass(frozen=True, slots=True)
class Function:
    """A callable of expressions; `framed` ones get the frame first, to charge work or to read the clock."""

    run: Callable[..., Any]
    least: int = 1
    most: int = 1
    framed: bool = False


class Pattern:
    """A compiled regular expression, the size of its program, and whether nobody paid for compiling it yet."""

    __slots__ = ("fresh", "search", "size")

    def __init__(self, compiled: Any) -> None:
        self.search: Callable[[str], Any] = compiled.search
        self.size: int = compiled.programsize
        self.fresh = True


@lru_cache(maxsize=128)
def compile_pattern(pattern: str) -> Pattern:
    """Compile a regular expression whose matching takes linear time; raise Fault when it is not one."""
    import re2

    if len(pattern) > MAX_PATTERN:
        raise Fault(f"The regular expression is longer than {MAX_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        return Pattern(re2.compile(pattern, options))
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else error
        raise Fault(f"The regular expression cannot be used: {reason}") from None
    except UnicodeEncodeError:
        raise Fault("The regular expression holds a character that is not text") from None


def _matches(frame: Frame, value: Any, pattern: Any) -> bool:
    if value is None or pattern is None:
        return False
    subject, compiled = _text(value, "matches"), compile_pattern(_text(pattern, "matches"))
    if compiled.fresh:
        # Compiling takes longer than matching, and a computed pattern may be a new one in every round of a loop.
        compiled.fresh = False
        frame.charge(_PATTERN_UNITS + compiled.size)
    frame.charge(1 + (len(subject) * compiled.size >> 8))
    try:
        return compiled.search(subject) is not None
    except UnicodeEncodeError:
        raise Fault("matches() got a text with a character that is not text") from None


def _text(value: Any, function: str) -> str:
    if type(value) is not str:
        raise Fault(f"{function}() needs a text, not {spoken(value)}")
    return value


def _predicate(name: str, ask: Callable[[str, str], bool]) -> Function:
    def run(value: Any, part: Any) -> bool:
        if value is None or part is None:
            return False
        return ask(_text(value, name), _text(part, name))

    return Function(run, 2, 2)


def _of_text(name: str, change: Callable[[str], Any]) -> Function:
    return Function(lambda value: None if value is None else change(_text(value, name)))


def _size(value: Any) -> int:
    if value is None:
        return 0
    if type(value) not in (str, bytes, list, dict):
        raise Fault(f"size() needs a text, a list or a map, not {spoken(value)}")
    return len(value)


def _int(value: Any) -> int:
    if value is None:
        return 0
    if type(value) is int:
        return value
    if type(value) is bool:
        return int(value)
    if type(value) is float and abs(value) < 2**63:
        return int(value)
    if type(value) is str and _WHOLE.fullmatch(value) and -(2**63) <= int(value) < 2**64:
        return int(value)
    if type(value) is datetime:
        return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    raise Fault(f"{shown(value)} is not a whole number of 64 bits")


def _uint(value: Any) -> int:
    number = _int(value)
    if number < 0:
        raise Fault(f"{number} is negative, uint() needs 0 or more")
    return number


def _double(value: Any) -> float:
    if value is None:
        return 0.0
    if type(value) in NUMBERS or type(value) is bool:
        return float(value)
    if type(value) is str and len(value) <= _LONGEST_NUMBER and _DECIMAL.fullmatch(value):
        return float(value)
    raise Fault(f"{shown(value)} is not a number")


def _bool(value: Any) -> bool:
    if value is None or type(value) is bool:
        return bool(value)
    if type(value) is str and value.lower() in _BOOLEANS:
        return _BOOLEANS[value.lower()]
    raise Fault(f"{shown(value)} is neither true nor false")


def _bytes(value: Any) -> Any:
    return value if value is None or type(value) is bytes else _text(value, "bytes").encode("utf-8", "replace")


def _type(value: Any) -> TypeName:
    return TypeName(TYPE_NAMES.get(type(value), "dyn"))


def _b64decode(value: str) -> str:
    standard = value.strip().replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        raise Fault("b64decode() got a text that is not base64 of a text") from None


def _json_parse(value: str) -> Any:
    try:
        return json.loads(value, parse_int=json_int, parse_constant=_json_constant)
    except ValueError:
        raise Fault("json_parse() got a text that is not JSON") from None


def json_int(digits: str) -> int | float:
    """Read a whole number as expressions have them: of 64 bits, or as a float."""
    number = int(digits) if len(digits) <= 20 else float(digits)
    return number if -(2**63) <= number < 2**64 else float(number)


def _json_constant(name: str) -> Any:
    raise ValueError(name)


def _now(frame: Frame) -> datetime:
    if frame.now is None:
        raise Fault("The present time is not known here, so now() cannot be used")
    return frame.now.astimezone(UTC)


def _moment(of_timestamp: Callable[[datetime], int], of_duration: Callable[[timedelta], int] | None = None) -> Function:
    return Function(getter(of_timestamp, of_duration), 1, 2)


def _spans(unit: timedelta) -> Callable[[timedelta], int]:
    return lambda span: int(span / unit)


FUNCTIONS: dict[str, Function] = {
    "size": Function(_size),
    "startsWith": _predicate("startsWith", str.startswith),
    "endsWith": _predicate("endsWith", str.endswith),
    "contains": _predicate("contains", str.__contains__),
    "matches": Function(_matches, 2, 2, framed=True),
    "lowercase": _of_text("lowercase", str.lower),
    "uppercase": _of_text("uppercase", str.upper),
    "b64decode": _of_text("b64decode", _b64decode),
    "json_parse": _of_text("json_parse", _json_parse),
    "int": Function(_int),
    "uint": Function(_uint),
    "double": Function(_double),
    "bool": Function(_bool),
    "string": Function(lambda frame, value: written(value, frame), framed=True),
    "bytes": Function(_bytes),
    "type": Function(_type),
    "dyn": Function(lambda value: value),
    "timestamp": Function(to_timestamp),
    "date": Function(to_timestamp),
    "duration": Function(to_duration),
    "now": Function(_now, 0, 0, framed=True),
    "now_plus": Function(lambda frame, span: shifted(_now(frame), span, 1), framed=True),
    "now_minus": Function(lambda frame, span: shifted(_now(frame), span, -1), framed=True),
    "getFullYear": _moment(lambda t: t.year),
    "getMonth": _moment(lambda t: t.month - 1),
    "getDate": _moment(lambda t: t.day),
    "getDayOfMonth": _moment(lambda t: t.day - 1),
    "getDayOfWeek": _moment(lambda t: t.isoweekday() % 7),
    "getDayOfYear": _moment(lambda t: t.timetuple().tm_yday - 1),
    "getHours": _moment(lambda t: t.hour, _spans(timedelta(hours=1))),
    "getMinutes": _moment(lambda t: t.minute, _spans(timedelta(minutes=1))),
    "getSeconds": _moment(lambda t: t.second, _spans(timedelta(seconds=1))),
    "getMilliseconds": _moment(lambda t: t.microsecond // 1000, lambda span: span // timedelta(milliseconds=1)),
}
CLOCK_FUNCTIONS = frozenset({"now", "now_plus", "now_minus"})
