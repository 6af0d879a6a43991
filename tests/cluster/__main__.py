"""The long form of the chaos: `python -m tests.cluster --seconds 600 --seed 7 --broker redis`."""

from __future__ import annotations

import argparse
import os
import sys

import pytest

from tests.cluster.ground import BROKERS

CHAOS = "tests/cluster/test_chaos.py"
OUTAGES = "tests/cluster/test_outages.py"


def main() -> int:
    """Set the form that the tests take, and run them."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0, help="how long each broker's chaos lasts (180)")
    parser.add_argument("--every", type=float, default=1.0, help="mean seconds between two deeds (1)")
    parser.add_argument("--seed", type=int, help="the seed that a failure told (default: a new one)")
    parser.add_argument("--broker", choices=[*BROKERS], help="only with this broker (default: with each)")
    parser.add_argument("--outage", type=float, default=60.0, help="seconds that the broker is away (60)")
    parser.add_argument("--only-chaos", action="store_true", help="leave out outages and the rolling restart")
    asked = parser.parse_args()
    os.environ |= {
        "CHAOS_SECONDS": str(asked.seconds),
        "CHAOS_EVERY": str(asked.every),
        "OUTAGE_SECONDS": str(asked.outage),
    }
    if asked.seed is not None:
        os.environ["CHAOS_SEED"] = str(asked.seed)
    which = ["-k", asked.broker] if asked.broker else []
    return int(pytest.main(["-s", *which, CHAOS, *([] if asked.only_chaos else [OUTAGES])]))


if __name__ == "__main__":
    sys.exit(main())
