"""Tables for people: columns as wide as what is in them, one row a line, colours that do not count as width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.cli.terminal import escape, paint


@dataclass(frozen=True, slots=True)
class Cell:
    """A text in a colour of the terminal's."""

    text: str
    colour: str = ""


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell | str]], colour: bool) -> Iterator[str]:
    """The lines of a table; what strangers wrote is escaped here."""
    cells = [[_cell(it) for it in row] for row in rows]
    widths = [max([len(head), *(len(row[at].text) for row in cells)]) for at, head in enumerate(heads)]
    yield paint(_line([f"{head:<{width}}" for head, width in zip(heads, widths, strict=True)]), "dim", colour)
    for row in cells:
        padded = [(cell, f"{cell.text:<{width}}") for cell, width in zip(row, widths, strict=True)]
        padded[-1] = (row[-1], row[-1].text)
        yield _line([paint(text, cell.colour, colour) for cell, text in padded])


def _cell(value: Cell | str) -> Cell:
    return Cell(escape(value.text), value.colour) if isinstance(value, Cell) else Cell(escape(value))


def _line(texts: Sequence[str]) -> str:
    return "  ".join(texts).rstrip()
