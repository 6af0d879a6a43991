"""The measured functions in process, for `orchestrator dev --app` or `celery -A tests.bench.inprocess worker`.

BENCH_RECORDS names the file of records; with BENCH_BROKER the functions belong to a Celery application on that broker.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from pathlib import Path

from celery import Celery

from orchestrator import Context, Event, Orchestrator
from tests.bench.records import Recorder

broker = os.environ.get("BENCH_BROKER")
app = Celery("bench", broker=broker) if broker else None
durable = Orchestrator("bench", celery=app)
record = Recorder(Path(os.environ["BENCH_RECORDS"]))


@durable.function(on=Event("bench/noop"))
def noop(ctx: Context) -> None:
    """One step."""
    run = ctx.event.data["run"]
    ctx.step.run("0", record.write, "s", run, "0")
    record.write("d", run, "-")


@durable.function(on=Event("bench/chain"))
def chain(ctx: Context) -> None:
    """Steps one after another."""
    run = ctx.event.data["run"]
    for k in range(ctx.event.data["k"]):
        ctx.step.run(str(k), record.write, "s", run, str(k))
    record.write("d", run, "-")


@durable.function(on=Event("bench/par"))
def par(ctx: Context) -> None:
    """Steps at the same time."""
    run = ctx.event.data["run"]
    ctx.group.parallel(
        [partial(ctx.step.run, str(k), record.write, "s", run, str(k)) for k in range(ctx.event.data["k"])]
    )
    record.write("d", run, "-")


@durable.function(on=Event("bench/sleep"))
def sleep(ctx: Context) -> None:
    """A step, and a sleep."""
    run = ctx.event.data["run"]
    ctx.step.run("0", record.write, "a", run, "0")
    ctx.step.sleep("nap", timedelta(seconds=ctx.event.data["secs"]))
    record.write("w", run, "-")
    record.write("d", run, "-")


@durable.function(on=Event("bench/wait"))
def wait(ctx: Context) -> None:
    """A step, and a wait for an event of one's own."""
    run = ctx.event.data["run"]
    ctx.step.run("0", record.write, "a", run, "0")
    ctx.step.wait_for_event("go", Event("bench/go", match="data.run"), timedelta(hours=1))
    record.write("w", run, "-")
    record.write("d", run, "-")
