"""The app of the chaos that lives in worker processes; what its functions do they note in a file that outlives them.

With CHAOS_ATTACHED it is attached to a Celery application of its user's.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Any

from celery import Celery

from orchestrator import Context, Event, Orchestrator

_LEDGER = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

app = Celery("users", broker=os.environ["ORCHESTRATOR_BROKER_URL"]) if os.environ.get("CHAOS_ATTACHED") else None
if app is not None:
    app.conf.update(worker_pool="threads", control_queue_exclusive=False, control_queue_durable=True)
    if os.environ["ORCHESTRATOR_BROKER_URL"].startswith("sqs:"):
        app.conf.update(broker_transport="orchestrator.queue.sqs:Transport")
durable = Orchestrator("inside", celery=app)


@durable.function(Event("inside/chain"), retries=20)
def chain(ctx: Context) -> object:
    for name in ("a", "b", "c", "d"):
        _step(ctx, name)
    return _end(ctx)


@durable.function(Event("inside/nap"), retries=20)
def nap(ctx: Context) -> object:
    _step(ctx, "before")
    ctx.step.sleep("nap", timedelta(seconds=1))
    _step(ctx, "after")
    return _end(ctx)


@durable.function(Event("inside/group"), retries=20)
def group(ctx: Context) -> object:
    ctx.group.parallel([lambda name=name: _step(ctx, name) for name in ("x", "y", "z")])  # type: ignore[misc]
    _step(ctx, "last")
    return _end(ctx)


def _step(ctx: Context, name: str) -> None:
    ctx.step.run(name, _body, ctx.run_id, name)
    _note("done", ctx.run_id, name)


def _body(run_id: str, name: str) -> str:
    _note("body", run_id, name)
    return name


def _end(ctx: Context) -> Any:
    _note("end", ctx.run_id, ctx.event.data["n"])
    return ctx.event.data["n"]


def _note(what: str, run_id: str, name: str) -> None:
    os.write(_LEDGER, f"{time.time()} {os.getpid()} {what} {run_id} {name}\n".encode())
