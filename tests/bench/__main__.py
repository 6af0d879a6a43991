"""`python -m tests.bench`: measure the targets, print the table, and write it into `docs/benchmarks.md`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from tests.bench import report
from tests.bench.figures import Row
from tests.bench.sizes import FULL, QUICK, USUAL, Sizes
from tests.bench.stage import NotReady, stage, tell
from tests.bench.targets import TARGETS
from tests.bench.workloads import WORKLOADS, Workload


def main() -> int:
    """Measure what is asked for; 1 when work was lost or a target that was named does not start."""
    asked = _arguments()
    rows, failed = list[Row](), False
    for name in asked.target or (list(TARGETS)[:1] if asked.quick else list(TARGETS)):
        try:
            rows += _measure(name, asked.only or list(WORKLOADS), _sizes(asked), asked.repeat)
        except NotReady as reason:
            tell(f"{name} is left out: {reason}")
            failed |= bool(asked.target)
    if rows:
        print(report.table(rows))
        if not asked.quick:
            report.write(rows)
            tell(f"written to {report.DOCUMENT.name}")
    return int(failed or any(row.broken for row in rows))


def _measure(target: str, names: list[str], sizes: Sizes, repeat: int) -> list[Row]:
    rows = list[Row]()
    for name in names:
        if not TARGETS[target].can(name):
            continue
        workload = WORKLOADS[name]
        rounds = [_once(target, workload, sizes) for _ in range(repeat)]
        rows.append(_kept(rounds))
    return rows


def _kept(rounds: list[Row]) -> Row:
    """The round that stands for all: one that is broken, however rare that is, else the one of median cost."""
    by_cost = sorted(rounds, key=lambda row: row.server or 0.0)
    return next((row for row in rounds if row.broken), by_cost[(len(rounds) - 1) // 2])


def _once(target: str, workload: Workload, sizes: Sizes) -> Row:
    tell(f"{workload.name} on {target}: {workload.what}")
    began = time.monotonic()
    with stage(TARGETS[target], app=workload.app, durable=workload.durable) as ready:
        tell(f"  ready after {time.monotonic() - began:.1f} s")
        row = workload.run(ready, sizes)
    spent = f"{row.server:.2f} CPU-ms per {row.unit} in the server" if row.server is not None else row.more
    tell(f"  {spent}{f'; BROKEN: {row.broken}' if row.broken else ''}")
    return row


def _sizes(asked: argparse.Namespace) -> Sizes:
    sizes = QUICK if asked.quick else FULL if asked.full else USUAL
    return replace(sizes, runs=asked.runs) if asked.runs else sizes


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure the server.")
    parser.add_argument("--only", type=_listed(list(WORKLOADS)), metavar="W1,W2a", help="workloads (all)")
    parser.add_argument(
        "--target", type=_listed(list(TARGETS)), metavar="NAME", help="targets (all; --quick: the first)"
    )
    parser.add_argument("--runs", type=int, metavar="N", help="runs of W1")
    parser.add_argument("--repeat", type=int, default=1, metavar="K", help="keep the median of so many rounds")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="only look whether all works; nothing is written")
    size.add_argument("--full", action="store_true", help="the sizes at which other systems were measured")
    return parser.parse_args()


def _listed(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return names

    return parse


if __name__ == "__main__":
    sys.exit(main())
