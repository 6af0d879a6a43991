"""Words of strangers on a terminal: control characters shown instead of obeyed, colours only where they are seen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import TextIO

#: What a terminal obeys or what reorders the line: C0, DEL, C1, line separators, direction marks, lone surrogates.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]|[\U000e0000-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

COLOURS = {
    "dim": "2",
    "bold": "1",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


def escape(value: object) -> str:
    """The text on one line, with what a terminal would obey written out as an escape."""
    return _UNSAFE.sub(_written_out, str(value))


def shorten(text: str, width: int) -> str:
    """The text cut to `width` characters, the last of them an ellipsis when something is missing."""
    return text if len(text) <= width else text[: width - 1] + "…"


def short_id(value: object) -> str:
    """An id as people compare it: its first four and last two characters."""
    text = escape(value)
    return f"{text[:4]}…{text[-2:]}" if len(text) > 8 else text


def paint(text: str, colour: str, on: bool) -> str:
    """The text in a colour of `COLOURS`, or as it is."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if on and colour else text


def wants_colour(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether colours on this stream reach a person's eyes; NO_COLOR and FORCE_COLOR decide first."""
    if env.get("NO_COLOR"):
        return False
    if env.get("FORCE_COLOR"):
        return True
    return stream.isatty() and env.get("TERM") != "dumb"


def parse_time(value: object) -> datetime | None:
    """The aware moment in a value, or None."""
    if not isinstance(value, datetime):
        try:
            value = datetime.fromisoformat(str(value))
        except ValueError:
            return None
    return value if value.tzinfo else None


def clock_time(value: object, zone: tzinfo | None, near: datetime | None = None) -> str:
    """The local time of day of a moment, with the date if it is not the day of `near`; other values as they are."""
    moment = parse_time(value)
    if moment is None:
        return escape(value)
    local = moment.astimezone(zone)
    same_day = near is None or near.astimezone(zone).date() == local.date()
    return f"{local:%H:%M:%S}" if same_day else f"{local:%Y-%m-%d %H:%M:%S}"


def took(span: timedelta) -> str:
    """A length of time in the unit that fits it: 412 ms, 1.2 s, 2 min 5 s, 3 h 20 min."""
    milliseconds = round(span / timedelta(milliseconds=1))
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    seconds = round(milliseconds / 1000)
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def _written_out(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    wide = f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else wide)
