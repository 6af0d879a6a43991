"""Durations and moments as people and SDKs write them: "1h30m", "500ms", "2w3d4h", or an ISO-8601 date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import durationpy

from orchestrator.errors import RequestError, TooLargeError

#: How far ahead a sleep or a wait may end.
MAX_WAIT = timedelta(days=366)
#: Texts of at least this length are tried as a date first; no date is shorter.
DATE_LENGTH = 10

_MAX_LENGTH = 100
# durationpy skips what it does not know between two parts, and takes months as "mm": both are refused before it looks.
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h|d|w|y))+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ].+)?", re.DOTALL)
_UNITS = (
    ("d", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("m", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
    ("ms", timedelta(milliseconds=1)),
    ("us", timedelta(microseconds=1)),
)


def parse_duration(text: str) -> timedelta:
    """Read a duration; raises `RequestError` for other texts, `TooLargeError` for what no clock can hold."""
    if len(text) > _MAX_LENGTH or not _DURATION.fullmatch(text):
        raise RequestError(f'{_shown(text)} is not a duration like "1h30m", "500ms" or "2w"')
    try:
        return durationpy.from_str(text)
    except (ValueError, OverflowError):
        raise TooLargeError(f"{_shown(text)} is longer than any duration") from None


def format_duration(duration: timedelta) -> str:
    """Write a duration so that `parse_duration` reads it back: whole days at most, exact to the microsecond."""
    if duration < timedelta():
        return "-" + format_duration(-duration)
    parts = []
    for unit, size in _UNITS:
        count, duration = divmod(duration, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_moment(text: str, now: datetime, limit: timedelta = MAX_WAIT) -> datetime:
    """Read a duration from `now`, or a date (without a zone: UTC; in the past: `now`).

    Raises `TooLargeError` when the moment lies more than `limit` ahead, `RequestError` for any other text.
    """
    moment = _date(text) if len(text) >= DATE_LENGTH else None
    if moment is None:
        try:
            ahead = parse_duration(text)
        except TooLargeError:
            raise _too_far(text, limit) from None
        except RequestError:
            raise RequestError(f'{_shown(text)} is neither a duration like "1h30m" nor an ISO-8601 date') from None
    else:
        ahead = max(moment - now, timedelta())
    if ahead > limit:
        raise _too_far(text, limit)
    try:
        return now + ahead
    except OverflowError:
        raise _too_far(text, limit) from None


def _date(text: str) -> datetime | None:
    if len(text) > _MAX_LENGTH or not _DATE.fullmatch(text):
        return None
    try:
        date = datetime.fromisoformat(text.upper())
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _too_far(text: str, limit: timedelta) -> TooLargeError:
    return TooLargeError(f"{_shown(text)} lies more than {format_duration(limit)} ahead")


def _shown(text: str) -> str:
    return f'"{text[:_MAX_LENGTH]}"'
