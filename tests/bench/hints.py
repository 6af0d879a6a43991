"""What a hint costs on each broker, in CPU time of who sends it and of who gets it.

    python -m tests.bench.hints --broker sqs --messages 500 --hints 1

The sender is that of a web process and the receiver `celery worker` with our settings, whose tasks only count: what a
worker does with a hint is the same for all.  The broker's own time is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import celery

from orchestrator.celery import configured, make_app
from orchestrator.queue import broker
from orchestrator.queue.announce import _Sender
from orchestrator.queue.broker import EXECUTOR_QUEUE, EXECUTOR_TASK
from orchestrator.store.jobs import CALL, Hint
from orchestrator.workers.wake import HubWake
from tests.bench.processes import ROOT, cpu_of
from tests.wire import brokers

_ALL = ("rabbitmq", "quorum", "redis", "rediss", "sqs")
_QUIET = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "critical"]
#: Messages that are not measured.
_FIRST = 50


def main() -> int:
    """Measure each broker, or be the worker that is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=_ALL, help="only this one (default: each)")
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--hints", type=int, default=1, help="hints in one message (1)")
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.receive:
        _receive(asked.messages)
        return 0
    for name in [asked.broker] if asked.broker else _ALL:
        with tempfile.TemporaryDirectory() as folder, brokers.broker(name, Path(folder)) as env:
            os.environ |= env
            print(name, _measured(asked.messages, asked.hints), f"load {os.getloadavg()[0]:.1f}", flush=True)
            for variable in env:
                del os.environ[variable]
    return 0


def _measured(messages: int, hints: int) -> str:
    told = broker.of(configured())
    assert told is not None
    with told.connection(5) as connection, _receiver(messages) as (pid, said):
        channel = connection.channel()
        sender = _Sender(connection, told)
        told.queue(EXECUTOR_QUEUE)(channel).purge()
        some = [Hint(number, CALL, datetime.now(UTC)) for number in range(hints)]
        for _ in range(_FIRST):
            sender.send(some)
        said.readline()
        received, sent, begin = cpu_of({pid}), time.process_time(), time.perf_counter()
        for _ in range(messages):
            sender.send(some)
        sent = time.process_time() - sent
        said.readline()
        received = cpu_of({pid}) - received
        wall = time.perf_counter() - begin
    return json.dumps(
        {
            "send_us": round(sent / messages * 1e6),
            "receive_us": round(received / messages * 1e6),
            "a_second": round(messages / wall),
        }
    )


@contextmanager
def _receiver(messages: int) -> Iterator[tuple[int, IO[str]]]:
    command = [sys.executable, "-m", "tests.bench.hints", "--receive", "--messages", str(messages)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.pid, process.stdout
    finally:
        process.kill()
        process.wait()


def _receive(messages: int) -> None:
    """Say when the first messages are there, and when all are."""
    app: celery.Celery = make_app(configured())
    app.conf.imports = ()
    app.steps["consumer"].add(HubWake)
    seen = 0

    @app.task(name=EXECUTOR_TASK, ignore_result=True)
    def executor(hints: object) -> None:
        nonlocal seen
        seen += 1
        if seen in (_FIRST, _FIRST + messages):
            os.write(3, b"there\n")

    os.dup2(1, 3)
    os.dup2(2, 1)  # Celery's banner
    app.worker_main(["worker", "-P", "threads", "-c", "8", *_QUIET])


if __name__ == "__main__":
    sys.exit(main())
