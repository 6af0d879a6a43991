"""One line of the results, and the arithmetic behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Row:
    """What one workload on one target came to; CPU in milliseconds per `unit`, times in milliseconds."""

    workload: str
    target: str
    amount: int
    unit: str
    server: float | None
    app: float | None
    services: float | None
    client: float | None
    rate: float | None
    p50: float | None
    p99: float | None
    more: str
    load: float
    #: Why the figures are not to be trusted: work that was lost or never ended.
    broken: str = ""


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that this share of all values does not exceed; None: there are none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def gaps(moments: Sequence[int]) -> list[float]:
    """Milliseconds between neighbours."""
    return [(later - earlier) / 1e6 for earlier, later in pairwise(moments)]


def spans(begun: dict[str, int], ended: dict[str, int]) -> list[float]:
    """Milliseconds from the one moment of a run to the other, for runs that have both."""
    return [(ended[run] - begun[run]) / 1e6 for run in begun if run in ended]
