"""The bin (see `core.tally`) that the time between two moments falls into, found by the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from orchestrator.core.tally import BOUNDS


class Bin(FunctionElement[int]):
    """The number of the bin; the first one where the end is before the begin, as clocks of two machines may have it."""

    name = "bin"
    type = Integer()
    inherit_cache = True


@compiles(Bin, "sqlite")
def _on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    begin, end = (compiler.process(it, **options) for it in element.clauses)
    return _halves(f"({end} - {begin})", 0, len(BOUNDS))


@compiles(Bin, "mysql")
@compiles(Bin, "mariadb")
def _on_mysql(element: Any, compiler: Any, **options: Any) -> str:
    begin, end = (compiler.process(it, **options) for it in element.clauses)
    return _halves(f"timestampdiff(MICROSECOND, {begin}, {end})", 0, len(BOUNDS))


@compiles(Bin, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    begin, end = (compiler.process(it, **options) for it in element.clauses)
    bounds = ",".join(f"{bound} microseconds" for bound in BOUNDS)
    return f"width_bucket({end} - {begin}, CAST('{{{bounds}}}' AS interval[]))"


def _halves(length: str, low: int, high: int) -> str:
    """Six questions instead of fifty."""
    if low == high:
        return str(low)
    middle = (low + high) // 2
    below, above = _halves(length, low, middle), _halves(length, middle + 1, high)
    return f"CASE WHEN {length} < {BOUNDS[middle]} THEN {below} ELSE {above} END"
