"""Measuring one piece of work: CPU time of every role from before the first trigger until all has settled."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from tests.bench.client import Sent
from tests.bench.figures import Row, percentile
from tests.bench.stage import Stage

#: What the server still does after the last record belongs to the cost.
SETTLE = 0.7


class Measurement:
    """The counters at the beginning of a piece of work."""

    def __init__(self, stage: Stage, workload: str) -> None:
        time.sleep(SETTLE)  # the warm-up's aftermath is not ours
        self._stage = stage
        self._workload = workload
        self._before = stage.cpu()

    def row(
        self,
        sent: Sent,
        amount: int,
        unit: str,
        times: Sequence[float] = (),
        *,
        seconds: float | None = None,
        settle: float = SETTLE,
        more: str = "",
        broken: str = "",
        cpu: bool = True,
    ) -> Row:
        """Let all settle and say what the work cost; `times` are its latencies in milliseconds.

        Without `cpu` it is not said what was used: processes that were killed took it with them.
        """
        time.sleep(settle)
        used = self._stage.cpu() - self._before

        def each(spent: float, counts: bool = True) -> float | None:
            return spent * 1000 / max(amount, 1) if cpu and counts else None

        return Row(
            workload=self._workload,
            target=self._stage.target.name,
            amount=amount,
            unit=unit,
            server=each(used.server),
            app=each(used.app, self._stage.has_app),
            services=each(used.services, bool(self._stage.target.services)),
            client=each(sent.cpu),
            rate=amount / seconds if seconds else None,
            p50=percentile(times, 0.5),
            p99=percentile(times, 0.99),
            more=more,
            load=os.getloadavg()[0],
            broken=broken,
        )


def missing(stage: Stage, prefix: str, count: int) -> str:
    """Say how many runs did not end; empty: all did."""
    ended = stage.records.count("d", prefix)
    return "" if ended == count else f"{count - ended} of {count} runs did not end"
