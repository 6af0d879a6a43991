"""Texts without the secrets of the URLs in them."""

from __future__ import annotations

import re

MASK = "***"

_IN_QUERY = re.compile(r"([?&;]\w*(?:password|secret|token|key)\w*=)[^&;\s'\"]*", re.IGNORECASE)
_BEFORE_HOST = re.compile(r"(://[^:/?#\s]*:)(\S*@)([^\s'\"]*)")


def mask_urls(text: str) -> str:
    """Hide the secrets of whatever URLs are in a text; where one may go on after its last @, all that follows."""
    if "://" not in text:
        return text
    return _IN_QUERY.sub(rf"\1{MASK}", _BEFORE_HOST.sub(_without_password, text))


def _without_password(found: re.Match[str]) -> str:
    goes_on = _IN_QUERY.search(found[2])
    return f"{found[1]}{MASK}" if goes_on else f"{found[1]}{MASK}@{found[3]}"
