"""A campaign: so many inputs for each target, each made from the seed, the target's name and its own number."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from tests.fuzz.targets import OverHttp, targets
from tests.wire.harness import Embedded

#: Seconds that one input may take on a busy machine.
PATIENCE = 5.0


@dataclass(frozen=True)
class Complaint:
    """One input that was not taken as it should be."""

    target: str
    number: int
    what: str
    sent: object

    def __str__(self) -> str:
        return f"{self.target} {self.number}: {self.what}\n    {self.sent!r:.1500}"


@contextmanager
def server() -> Iterator[OverHttp]:
    """A development server in this process, and a way to it."""
    logging.getLogger("orchestrator").setLevel(logging.ERROR)  # thousands of refusals are no news here
    embedded = Embedded()
    way = OverHttp(embedded.embedded.port)
    yield way
    way.close()
    embedded.stop()


def run(
    way: OverHttp,
    seed: int,
    numbers: Sequence[int],
    only: Sequence[str] = (),
    tell: Callable[[str], object] = lambda _: None,
) -> list[Complaint]:
    """Try all targets, or those named, with the inputs of these numbers; `tell` hears how it goes."""
    complaints = list[Complaint]()
    for name, attempt in targets(way).items():
        if only and name not in only:
            continue
        began, slowest = time.monotonic(), 0.0
        for number in numbers:
            before = time.monotonic()
            sent, wrong = attempt(Random(f"{seed} {name} {number}"))
            took = time.monotonic() - before
            slowest = max(slowest, took)
            if wrong is None and took > PATIENCE:
                wrong = f"took {took:.1f} s"
            if wrong is not None:
                complaints.append(Complaint(name, number, wrong, sent))
        span = time.monotonic() - began
        tell(f"{name}: {len(numbers)} inputs in {span:.0f} s, the slowest {slowest * 1000:.0f} ms")
    return complaints
