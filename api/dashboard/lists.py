"""What lists have in common: filters out of the address, the addresses of other pages, and whether anything changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from orchestrator.errors import RequestError

#: Rows of a page.
ROWS = 50
#: The spans that lists offer, by what the address says.
SPANS: Mapping[str, tuple[str, timedelta]] = {
    "15m": ("Last 15 minutes", timedelta(minutes=15)),
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(days=1)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}
_LONGEST = 4_000


@dataclass(frozen=True, slots=True)
class Times:
    """A range of time, as the address says it and as it is meant."""

    span: str = ""
    text_from: str = ""
    text_until: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def read(cls, args: MultiDict[str, str], now: datetime) -> Times:
        """Read `span`, or `from` and `until`.  Raises `RequestError`."""
        span, text_from, text_until = (args.get(name, "").strip() for name in ("span", "from", "until"))
        if span and span not in SPANS:
            raise RequestError(f"span must be one of {', '.join(SPANS)}, or be left out for from and until")
        since = now - SPANS[span][1] if span else _moment("from", text_from)
        return cls(span, text_from, text_until, since, _moment("until", text_until))


def text(args: MultiDict[str, str], name: str) -> str:
    """A field of the address.  Raises `RequestError` for one that is too long, or no text."""
    found = args.get(name, "").strip()
    if len(found) > _LONGEST:
        raise RequestError(f"{name} must have at most {_LONGEST} characters")
    # Databases refuse a zero byte instead of finding nothing.
    if "\0" in found:
        raise RequestError(f"{name} must not have a zero byte")
    return found


def address(path: str, args: MultiDict[str, str], **changes: str) -> str:
    """The address of a list with other filters; what is empty is left out."""
    pairs = [(name, value) for name, value in args.items(multi=True) if name not in changes and value]
    pairs += [(name, value) for name, value in changes.items() if value]
    return f"{path}?{urlencode(pairs)}" if pairs else path


def mark(rows: Sequence[object]) -> str:
    """What tells rows from any others."""
    return hashlib.sha256(repr(rows).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _moment(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the latter for a moment that is before all times in UTC
        raise RequestError(f"{name} must be a time such as 2026-11-21T14:30 (UTC), not {text[:60]}") from None
