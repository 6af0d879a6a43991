"""A value of a registration together with where it stands, so that every refusal can say what is wrong, and where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.core.durations import format_duration, parse_duration
from orchestrator.errors import ExpressionError, RequestError
from orchestrator.expressions.cel import check_restricted, compile_expression
from orchestrator.protocol.sync_limits import MAX_EXPRESSION

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Field:
    """A JSON value (None: absent or null) at `path` of `owner`; the readers raise `RequestError`."""

    owner: str
    path: str
    value: object

    @property
    def present(self) -> bool:
        """Whether there is something; SDKs write null, and some of them "", for nothing."""
        return self.value is not None and self.value != ""

    def refuse(self, wish: str) -> RequestError:
        """Make the error that says what the value must be."""
        got = json.dumps(self.value)
        shown = got if len(got) <= _SHOWN else got[:_SHOWN] + "..."
        return self.fault(
            f"must be {wish}, got {shown}" if self.value is not None else f"is missing: it must be {wish}"
        )

    def fault(self, sentence: str) -> RequestError:
        """Make an error about this field."""
        place = f"{self.path} " if self.path else ""
        return RequestError(f"{self.owner}: {place}{sentence}")

    def __getitem__(self, name: str) -> Field:
        """Give a member of an object; its name may be spelled in any case, with or without underscores."""
        members = self.members()
        if name not in members:
            wanted = _folded(name)
            name = next((key for key in members if _folded(key) == wanted), name)
        return Field(self.owner, f"{self.path}.{name}" if self.path else name, members.get(name))

    def members(self) -> dict[str, object]:
        """Give all members of an object."""
        if not isinstance(self.value, dict):
            raise self.refuse("an object")
        return self.value

    def items(self, most: int | None = None) -> Iterator[Field]:
        """Give the elements of a list, of which there may be `most`; nothing counts as an empty list."""
        value = self.value if self.value is not None else []
        if not isinstance(value, list):
            raise self.refuse("a list")
        if most is not None and len(value) > most:
            raise self.fault(f"must have at most {most} entries, got {len(value)}")
        return (Field(self.owner, f"{self.path}[{at}]", item) for at, item in enumerate(value))

    def text(self, most: int) -> str:
        """Read a text of 1 to `most` characters."""
        if not isinstance(self.value, str) or not 0 < len(self.value) <= most or "\0" in self.value:
            raise self.refuse(f"a text of 1 to {most} characters")
        return self.value

    def integer(self, least: int, most: int) -> int:
        """Read a whole number between two bounds."""
        value = self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.refuse(f"a whole number between {least} and {most}")
        return value

    def duration(self, least: timedelta, most: timedelta) -> timedelta:
        """Read a duration between two bounds."""
        wish = f"between {format_duration(least)} and {format_duration(most)}"
        if not isinstance(self.value, str):
            raise self.refuse(f"a duration {wish}")
        try:
            duration = parse_duration(self.value)
        except RequestError:
            raise self.refuse(f"a duration {wish}") from None
        if not least <= duration <= most:
            raise self.refuse(wish)
        return duration

    def maybe_duration(self, least: timedelta, most: timedelta) -> timedelta | None:
        """Read a duration, or None where there is none."""
        return self.duration(least, most) if self.present else None

    def expression(self, restricted: bool = False) -> str | None:
        """Read an expression that compiles, or None where there is none."""
        if not self.present:
            return None
        source = self.text(MAX_EXPRESSION)
        try:
            program = compile_expression(source)
            if restricted:
                check_restricted(program)
        except ExpressionError as error:
            raise ExpressionError(f"{self.owner}: {self.path} is no expression we can use: {error.message}") from None
        return source


def _folded(name: str) -> str:
    return name.replace("_", "").lower()
