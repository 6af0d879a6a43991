"""`python -m tests.fuzz`: a campaign of as many inputs as you like; it exits with 1 when one was taken badly."""

from __future__ import annotations

import argparse
import sys
import time

from tests.fuzz.campaign import run, server
from tests.fuzz.targets import OverHttp, targets


def main() -> int:
    """Run the campaign that is asked for."""
    asked = _arguments()
    numbers = [asked.at] if asked.at is not None else range(asked.inputs // (len(asked.only) or _count()))
    print(f"seed {asked.seed}: {len(numbers)} inputs for each target", flush=True)
    with server() as way:
        complaints = run(way, asked.seed, numbers, asked.only, lambda line: print(line, flush=True))
    for complaint in complaints[:50]:
        print(complaint)
    print(f"{len(complaints)} were not taken as they should be")
    return int(bool(complaints))


def _count() -> int:
    return len(targets(OverHttp(0)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="how many in all (100000)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="what the inputs are made from (the time)")
    parser.add_argument("--only", action="append", default=[], metavar="TARGET", help="one target; may be repeated")
    parser.add_argument("--at", type=int, help="the input of this number alone, as a complaint names it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
