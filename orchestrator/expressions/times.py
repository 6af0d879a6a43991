"""Timestamps and durations: reading them from text and numbers, and the getters of CEL."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from orchestrator.expressions.frame import Fault
from orchestrator.expressions.values import shown

# 10^11 seconds lie in the year 5138 and 10^11 milliseconds in 1973: larger numbers are event times in milliseconds.
_MILLISECONDS_FROM = 1e11
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAYOUTS = (
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S",
    "%d %b %Y",
    "%b %d, %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a %b %d %H:%M:%S %Y",
)
_UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
    "µs": timedelta(microseconds=1),
    "ns": timedelta(microseconds=1) / 1000,
}
_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?)(ms|us|µs|ns|[wdhms])")
_DURATION = re.compile(rf"([+-]?)((?:{_PART.pattern})+|0)")
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)")
_LONGEST_TEXT = 100


def to_timestamp(value: Any) -> Any:
    """Read a timestamp from a date text or a number of seconds (milliseconds when it is large); null stays null."""
    try:
        if value is None or type(value) is datetime:
            return value
        if type(value) in (int, float):
            return _EPOCH + timedelta(seconds=value / 1000 if abs(value) >= _MILLISECONDS_FROM else value)
        if type(value) is str and len(value) <= _LONGEST_TEXT:
            return _from_text(value.strip())
    except (ValueError, OverflowError):
        pass
    raise Fault(f"A date or a number is needed, not {shown(value)}")


def to_duration(value: Any) -> Any:
    """Read a duration such as 1h30m, 7d or 1.5s; null stays null."""
    if value is None or type(value) is timedelta:
        return value
    found = _DURATION.fullmatch(value) if type(value) is str and len(value) <= _LONGEST_TEXT else None
    if found is None:
        raise Fault(f"A duration such as '1h30m' is needed, not {shown(value)}")
    try:
        total = sum((_amount(number) * _UNITS[unit] for number, unit in _PART.findall(found[2])), timedelta(0))
    except OverflowError:
        raise Fault(f"The duration {shown(value)} is too long") from None
    return -total if found[1] == "-" else total


def shifted(now: datetime, duration: Any, sign: int) -> datetime:
    """Move the present moment by a duration."""
    try:
        return now + sign * (to_duration(duration) or timedelta(0))
    except OverflowError:
        raise Fault("The moment is out of range") from None


def getter(
    of_timestamp: Callable[[datetime], int], of_duration: Callable[[timedelta], int] | None
) -> Callable[..., Any]:
    """Build one of CEL's getters from what it reads of a timestamp in a zone, and of a duration."""

    def read(value: Any, zone: Any = None) -> Any:
        if value is None:
            return None
        if type(value) is datetime:
            try:
                return of_timestamp(value.astimezone(_zone(zone)))
            except OverflowError:
                raise Fault("The moment is out of range") from None
        if type(value) is timedelta and of_duration is not None:
            return of_duration(value)
        raise Fault("A getter such as getHours() needs a timestamp or a duration")

    return read


def _amount(number: str) -> int | float:
    return float(number) if "." in number else int(number)


def _from_text(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = _from_layouts(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _from_layouts(text: str) -> datetime:
    for layout in _LAYOUTS:
        try:
            return datetime.strptime(text.replace("GMT", "+0000"), layout)
        except ValueError:
            continue
    raise ValueError(text)


def _zone(name: Any) -> tzinfo:
    if name is None or name == "UTC":
        return UTC
    if type(name) is not str:
        raise Fault("A time zone is named by a text")
    offset = _OFFSET.fullmatch(name)
    try:
        if offset is not None:
            span = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
            return timezone(-span if offset[1] == "-" else span)
        from zoneinfo import ZoneInfo

        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Fault(f"There is no time zone {shown(name)}") from None
