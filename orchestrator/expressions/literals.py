r"""Text literals with escapes strict CEL refuses, such as `'\w+'`, made acceptable before parsing."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""//[^\n]*
      | `[^`\n]*`
      | (?P<prefix>(?<![A-Za-z0-9_])[rRbB]{1,2}|)
        (?P<body>"{3}(?:\\.|[^\\])*?"{3} | '{3}(?:\\.|[^\\])*?'{3} | "(?:\\.|[^\\"\n])*" | '(?:\\.|[^\\'\n])*')""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"""\\(?P<known>[abfnrtv\\?"'`]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})?"""
)


@dataclass(frozen=True, slots=True)
class Mended:
    """A source the parser takes, and where backslashes were added to it."""

    text: str
    added: tuple[int, ...] = ()

    def original(self, offset: int) -> int:
        """Translate an offset in the mended text to one in the source."""
        return offset - bisect_left(self.added, offset)


def mend(source: str) -> Mended:
    """Double the backslash of every unknown escape in a literal that is not raw."""
    if "\\" not in source:
        return Mended(source)
    unknown = [
        token.start("body") + escape.start()
        for token in _TOKEN.finditer(source)
        if token["body"] and "r" not in token["prefix"].lower()
        for escape in _ESCAPE.finditer(token["body"])
        if escape["known"] is None
    ]
    if not unknown:
        return Mended(source)
    pieces = [source[start:end] for start, end in zip([0, *unknown], [*unknown, len(source)], strict=True)]
    return Mended("\\".join(pieces), tuple(offset + index for index, offset in enumerate(unknown)))
