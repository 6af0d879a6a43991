"""What makes failures alike: the error's name, and its message without what differs from one run to the next.

Errors are the users' (JSON text, see `core.effect.Finish`), and whatever they hold this gives an answer: a text that is
no JSON object is a message without a name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

#: Characters of a fingerprint.
LENGTH = 16
#: Where something stood that differs from one run to the next.
GAP = "#"
#: Characters of a message that are read, and characters of what is left that count.
_READ, _COUNTS = 4_000, 300

_QUOTED = re.compile(
    r'"[^"\n]{0,1000}"|“[^”\n]{0,1000}”|`[^`\n]{0,1000}`|«[^»\n]{0,1000}»|(?<!\w)\'[^\'\n]{0,1000}\'(?!\w)'
)
_ADDRESS = re.compile(r"(?<!\S)[^\s@]{1,100}@[^\s@]{1,200}")
#: A word with what belongs to it if it is a number or an id: 12.5, 10:30:00, 1,000, ord-17.
_WORD = re.compile(r"[\w-]+(?:[.,:]\d[\w-]*)*")
_HEX = re.compile(r"[0-9a-f-]{8,}|[0-9A-F-]{8,}")
_DIGIT = re.compile(r"\d")
_GAPS = re.compile(rf"{GAP}(?:[\s,;]*{GAP})+")
_BLANK = re.compile(r"\s+")
_FINGERPRINT = re.compile(rf"[0-9a-f]{{{LENGTH}}}")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as people read it; empty where it says nothing of that."""

    name: str
    message: str
    stack: str = ""


def read_failure(error: str | None) -> Failure:
    """Read an error (JSON text)."""
    try:
        found = json.loads(error) if error else {}
    except (ValueError, RecursionError):
        found = error
    if not isinstance(found, dict):
        return Failure("", found if isinstance(found, str) else json.dumps(found))
    return Failure(*(_text(found.get(part)) for part in ("name", "message", "stack")))


def shape(message: str) -> str:
    """A message with a gap for each number, id, address, and whatever stands in quotes.

    "order 17 not found" and "order 18 not found" have one shape.  Takes time in proportion to the message at most.
    """
    text = _QUOTED.sub(GAP, message[:_READ])
    text = _ADDRESS.sub(GAP, text)
    text = _WORD.sub(_gap, text)
    return _BLANK.sub(" ", _GAPS.sub(GAP, text)).strip()[:_COUNTS]


def fingerprint(error: str | None) -> str:
    """What errors (JSON text) have in common that are alike: 16 hexadecimal digits."""
    failure = read_failure(error)
    alike = f"{failure.name[:_COUNTS]}\0{shape(failure.message)}"
    return sha256(alike.encode("utf-8", "surrogatepass")).hexdigest()[:LENGTH]


def is_fingerprint(text: str) -> bool:
    """Whether a text is a fingerprint."""
    return _FINGERPRINT.fullmatch(text) is not None


def _gap(word: re.Match[str]) -> str:
    text = word[0]
    return GAP if _DIGIT.search(text) or _HEX.fullmatch(text) else text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
