"""The measured app: the five functions every system is asked for, on Flask and the official SDK.

`python -m tests.bench.app PORT SERVER_URL RECORD_FILE`
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import flask
import inngest
import inngest.flask
import waitress

from tests.bench.records import Recorder

#: More than any workload keeps busy at once.
THREADS = 64
EVENT_KEY = "bench"
#: Five limits with room for all, one of which has a pool for every run; and one under which nearly all have to wait.
LIMITS = {
    "limited": (
        inngest.Concurrency(limit=1000),
        inngest.Concurrency(limit=1000, key="event.data.run"),
        inngest.Concurrency(limit=1000, key="event.name"),
        inngest.Concurrency(limit=1000, key='"api"', scope="env"),
        inngest.Concurrency(limit=1000, key='"api"', scope="account"),
    ),
    "crowded": (inngest.Concurrency(limit=5),),
}


def functions(client: inngest.Inngest, record: Recorder) -> list[inngest.Function[Any]]:
    """Declare noop, chain, par, sleep and wait, and noop under limits, each on the event `bench/NAME`."""

    def on(name: str, *limits: inngest.Concurrency) -> Callable[[Callable[..., None]], inngest.Function[Any]]:
        trigger = inngest.TriggerEvent(event=f"bench/{name}")
        return client.create_function(fn_id=name, trigger=trigger, retries=4, concurrency=list(limits) or None)

    def one_step(ctx: inngest.ContextSync) -> None:
        run = str(ctx.event.data["run"])
        ctx.step.run("0", record.write, "s", run, "0")
        record.write("d", run, "-")

    noop = on("noop")(one_step)
    limited, crowded = (on(name, *limits)(one_step) for name, limits in LIMITS.items())

    @on("chain")
    def chain(ctx: inngest.ContextSync) -> None:
        run = str(ctx.event.data["run"])
        for k in range(int(str(ctx.event.data["k"]))):
            ctx.step.run(str(k), record.write, "s", run, str(k))
        record.write("d", run, "-")

    @on("par")
    def par(ctx: inngest.ContextSync) -> None:
        run = str(ctx.event.data["run"])
        width = int(str(ctx.event.data["k"]))
        ctx.group.parallel(tuple(partial(ctx.step.run, str(k), record.write, "s", run, str(k)) for k in range(width)))
        record.write("d", run, "-")

    @on("sleep")
    def sleep(ctx: inngest.ContextSync) -> None:
        run = str(ctx.event.data["run"])
        ctx.step.run("0", record.write, "a", run, "0")
        ctx.step.sleep("nap", timedelta(seconds=float(str(ctx.event.data["secs"]))))
        record.write("w", run, "-")
        record.write("d", run, "-")

    @on("wait")
    def wait(ctx: inngest.ContextSync) -> None:
        run = str(ctx.event.data["run"])
        ctx.step.run("0", record.write, "a", run, "0")
        ctx.step.wait_for_event(
            "go", event="bench/go", if_exp="event.data.run == async.data.run", timeout=timedelta(hours=1)
        )
        record.write("w", run, "-")
        record.write("d", run, "-")

    return [noop, limited, crowded, chain, par, sleep, wait]


def main() -> None:
    """Serve until ended."""
    port, server, file = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    for name in ("waitress", "waitress.queue", "inngest"):
        logging.getLogger(name).setLevel(logging.ERROR)
    client = inngest.Inngest(
        app_id="bench",
        api_base_url=server,
        event_api_base_url=server,
        event_key=EVENT_KEY,
        is_production="INNGEST_SIGNING_KEY" in os.environ,
        logger=logging.getLogger("inngest"),
    )
    web = flask.Flask("bench")
    web.add_url_rule("/health", view_func=lambda: "")
    inngest.flask.serve(web, client, functions(client, Recorder(file)))
    waitress.serve(
        web, host="127.0.0.1", port=port, threads=THREADS, connection_limit=1000, asyncore_use_poll=True, _quiet=True
    )


if __name__ == "__main__":
    main()
