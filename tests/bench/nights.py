"""Very many runs that fall asleep one by one and wake on time, end to end on PostgreSQL.

    python -m tests.bench.nights --runs 100000 --asleep-by 600 --over 1000

Each run begins with an event of its own and ends after a sleep of several minutes.  In the beginning all fall asleep;
then they wake, evenly over a time, so that it is seen how late they are and not how many a machine can begin at once.
"""

from __future__ import annotations

import argparse
import os
import time
from datetime import UTC, datetime, timedelta

import orjson
from sqlalchemy import text

from orchestrator.core.event import Event as Received
from orchestrator.engine.ingest import Ingest
from orchestrator.ids import new_ulid
from tests.bench.sleepers import UNTIL, Bedroom, bedroom, percentile, resident

#: Events in one request, and runs that may be on their way to bed.
_SENT, _UNDER_WAY = 500, 2000
_ASLEEP = text("SELECT count(*) FROM jobs WHERE kind = 'wake'")


def main() -> None:
    """Put to bed, wait, wake, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--asleep-by", type=float, default=600, help="seconds until the first wakes (600)")
    parser.add_argument("--over", type=float, default=1000, help="seconds over which they wake (1000)")
    asked = parser.parse_args()
    with bedroom() as room, room.working():
        first = room.parts.clock.now() + timedelta(seconds=asked.asleep_by)
        began, memory = time.monotonic(), resident()
        _put_to_bed(room, asked.runs, first, timedelta(seconds=asked.over) / asked.runs)
        in_time = room.parts.clock.now() < first
        print(
            f"{asked.runs} asleep after {time.monotonic() - began:.0f} s, before the first woke: {in_time}; {_told()}"
        )
        print(f"memory: {resident() - memory:.1f} MiB more", flush=True)
        most, deepest, awake = resident(), 0, 0
        while awake < asked.runs and time.monotonic() < began + 2 * (asked.asleep_by + asked.over):
            time.sleep(1)
            most, deepest, awake = max(most, resident()), max(deepest, room.queue.depth), room.awake()
        _tell(room, asked.runs)
        print(f"memory: {most - memory:.1f} MiB more at most, {deepest} due hints in it at most; {_told()}")


def _put_to_bed(room: Bedroom, runs: int, first: datetime, apart: timedelta) -> None:
    ingest = Ingest(room.parts)
    for begin in range(0, runs, _SENT):
        ingest.accept([_event(first + number * apart) for number in range(begin, min(begin + _SENT, runs))])
        while begin + _SENT - _asleep(room) > _UNDER_WAY:
            time.sleep(0.05)
    while room.awake() + _asleep(room) < runs:
        time.sleep(0.2)


def _event(until: datetime) -> Received:
    now = datetime.now(UTC)
    data = orjson.dumps({"until": until.isoformat()}).decode()
    return Received(new_ulid(), UNTIL, data, int(now.timestamp() * 1000), now)


def _asleep(room: Bedroom) -> int:
    with room.parts.database.read() as conn:
        return int(conn.execute(_ASLEEP).scalar_one())


def _tell(room: Bedroom, runs: int) -> None:
    late = room.lateness()
    print(f"{len(late)} of {runs} ended, {max(room.woke.values())} times at most")
    quantiles = [percentile(late, part) for part in (0, 0.5, 0.99, 1)]
    print("late: earliest {:.3f} s, p50 {:.2f} s, p99 {:.2f} s, latest {:.2f} s".format(*quantiles))
    print(f"{room.heard.announced} hints announced, {room.heard.most_at_once} at once")


def _told() -> str:
    return "load {:.1f} {:.1f} {:.1f}".format(*os.getloadavg())


if __name__ == "__main__":
    main()
