"""Results for people: the table on the terminal, and the generated section of `docs/benchmarks.md`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from tests.bench.figures import Row
from tests.bench.processes import ROOT
from tests.bench.targets import TARGETS
from tests.bench.workloads import WORKLOADS

DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results: written by `make bench` -->", "<!-- end of results -->"
HEADS = ("workload", "target", "amount", "server", "app", "services", "client", "per s", "p50", "p99", "more", "load1")
_WRITTEN = (*HEADS, "on")


def cells(row: Row) -> list[str]:
    """A row as texts, in the order of `HEADS`."""
    return [
        row.workload,
        row.target,
        f"{row.amount} {row.unit}s",
        *(_number(value) for value in (row.server, row.app, row.services, row.client)),
        "" if row.rate is None else f"{row.rate:.0f}",
        *(_number(value) for value in (row.p50, row.p99)),
        "; ".join(filter(None, (row.more, row.broken.upper()))),
        f"{row.load:.1f}",
    ]


def table(rows: Sequence[Row]) -> str:
    """The rows under their heads, for a terminal."""
    lines = [list(HEADS), *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    told = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join(("CPU-ms per run, step or event by role; p50 and p99 in ms", *told))


def write(rows: Sequence[Row], document: Path = DOCUMENT) -> None:
    """Put the rows into the document; those of other workloads and targets stay as they are."""
    before, found, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    old, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{document} must hold the lines {BEGIN} and {END}")
    kept = {tuple(line[:2]): line for line in _read(old)}
    today = date.today().isoformat()
    kept |= {(row.workload, row.target): [*cells(row), today] for row in rows}
    document.write_text(f"{before}{BEGIN}\n\n{_section(list(kept.values()))}\n{END}{after}", encoding="utf-8")


def _read(section: str) -> list[list[str]]:
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _section(lines: list[list[str]]) -> str:
    workloads, targets = list(WORKLOADS), list(TARGETS)
    known = [line for line in lines if line[0] in workloads and line[1] in targets]
    known.sort(key=lambda line: (workloads.index(line[0]), targets.index(line[1])))
    machine = f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}, Python {platform.python_version()}."
    return "\n".join((machine, "", _line(_WRITTEN), _line(["---"] * len(_WRITTEN)), *map(_line, known), ""))


def _line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
