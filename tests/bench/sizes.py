"""How much of each workload is asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of runs, steps and seconds."""

    runs: int
    chain: int
    #: How many chains, and how long each is.
    chains: tuple[int, int]
    #: Parallel steps of a run: W3, and W3b.
    width: int
    wide: int
    sleepers: int
    nap: float
    #: How many wait, how many of them get their event at 25 a second, and how many at once.
    waiters: tuple[int, int, int]
    flood: float
    crash: int


#: A minute or two a target, enough to compare one change with another.
USUAL = Sizes(
    runs=1000,
    chain=100,
    chains=(50, 10),
    width=200,
    wide=1000,
    sleepers=500,
    nap=10,
    waiters=(1000, 100, 500),
    flood=4,
    crash=300,
)
#: A look whether all works.
QUICK = Sizes(
    runs=150,
    chain=40,
    chains=(20, 5),
    width=40,
    wide=150,
    sleepers=50,
    nap=2,
    waiters=(80, 25, 50),
    flood=1.5,
    crash=60,
)
#: As other systems were measured, but for the nap, which was 10 s: so that all are asleep before the first wakes.
FULL = Sizes(
    runs=2000,
    chain=100,
    chains=(50, 10),
    width=200,
    wide=1000,
    sleepers=5000,
    nap=60,
    waiters=(5000, 100, 500),
    flood=6,
    crash=1000,
)
