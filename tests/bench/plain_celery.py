"""The same work on Celery alone, where a step is a task and nothing is durable.

`python -m tests.bench.plain_celery COUNT PREFIX FUNCTION DATA` sends it, and prints what became of that as the load
generator does (see `tests.bench.client`).  The join of a group is a chord; its results are kept in BENCH_BACKEND.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path

from celery import Celery, Signature, chain, chord, group

from tests.bench.client import Sent
from tests.bench.records import Recorder
from tests.bench.targets import PLAIN_QUEUE

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_BACKEND"])
app.conf.task_default_queue = PLAIN_QUEUE
app.conf.broker_connection_retry_on_startup = True


record = Recorder(Path(os.environ["BENCH_RECORDS"]))


@app.task(ignore_result=True)
def step(run: str, at: str) -> None:
    """A step in a chain."""
    record.write("s", run, at)


@app.task
def member(run: str, at: str) -> None:
    """A step in a group, whose end the join waits for."""
    record.write("s", run, at)


@app.task(ignore_result=True)
def end(run: str) -> None:
    """The last statement."""
    record.write("d", run, "-")


@app.task(ignore_result=True)
def joined(_results: list[None], run: str) -> None:
    """The last statement after a group."""
    record.write("d", run, "-")


@app.task(ignore_result=True)
def noop(run: str) -> None:
    """One step and the last statement."""
    record.write("s", run, "0")
    record.write("d", run, "-")


def work(function: str, run: str, data: dict[str, int]) -> Signature:
    """What is sent for one run."""
    if function == "noop":
        return noop.si(run)
    if function == "chain":
        return chain(*(step.si(run, str(k)) for k in range(data["k"])), end.si(run))
    return chord(group(member.si(run, str(k)) for k in range(data["k"])), joined.s(run))


def main() -> None:
    """Send as the arguments say."""
    count, prefix, function, data = int(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
    sent = Sent()
    used = resource.getrusage(resource.RUSAGE_SELF)
    for number in range(count):
        run = f"{prefix}{number}"
        sent.at[run] = time.monotonic_ns()
        work(function, run, data).apply_async()
        sent.acknowledged.append(run)
    after = resource.getrusage(resource.RUSAGE_SELF)
    sent.cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    json.dump(asdict(sent), sys.stdout)


if __name__ == "__main__":
    # The tasks are named after their module, which is another one when it is run.
    from tests.bench import plain_celery

    plain_celery.main()
