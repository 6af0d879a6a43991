"""Where in a Celery worker our worker lives: in the one process of threads, or in every child of prefork.

With prefork the parent only carries messages; each child has a worker of its own, made after the fork.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import celery
from celery import bootsteps, signals

from orchestrator import log
from orchestrator.celery import configured
from orchestrator.workers import runtime
from orchestrator.workers.runtime import Runtime
from orchestrator.workers.wake import HubWake
from orchestrator.workers.worker import Worker

_log = log.get(__name__)

#: Calls at once in a child of prefork when the command line names no number.
_CHILD_EXECUTORS = 16
_CONCURRENCY_FLAGS = ("-c", "--concurrency", "--autoscale")

_lock = threading.Lock()
_running: dict[int, Runtime] = {}


def worker() -> Worker:
    """The worker of this process, started at the first call."""
    pid = os.getpid()
    with _lock:
        if pid not in _running:
            _running[pid] = runtime.start(configured(), _executors(forked=True))
        return _running[pid].worker.worker


def install(app: celery.Celery) -> None:
    """Add our steps to the workers of an application."""
    app.steps["worker"].add(WorkerStep)
    app.steps["consumer"].add(HubWake)
    signals.worker_process_init.connect(_child_begins, weak=False)
    signals.worker_process_shutdown.connect(_child_ends, weak=False)
    signals.setup_logging.connect(_set_up_logging, weak=False)


class WorkerStep(bootsteps.StartStopStep):
    """Runs our worker for as long as the Celery worker of a pool of threads runs."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:
        """Begin, unless the children of the pool will."""
        self._here = parent.pool_cls.__module__.rpartition(".")[2] != "prefork"
        if self._here:
            with _lock:
                _running[os.getpid()] = runtime.start(configured(), _executors(forked=False))

    def stop(self, parent: Any) -> None:
        """Drain and end."""
        _end()

    terminate = stop


def _executors(*, forked: bool) -> int:
    """Calls at once: what the command line says to Celery is meant for us, too."""
    named = [word for word in sys.argv if word.startswith(_CONCURRENCY_FLAGS)]
    if forked:
        return _CHILD_EXECUTORS
    if named:
        return _named_concurrency()
    return configured().queue_workers


def _named_concurrency() -> int:
    words = sys.argv
    for at, word in enumerate(words):
        for flag in ("--concurrency=", "-c="):
            if word.startswith(flag):
                return int(word.removeprefix(flag))
        if word in ("-c", "--concurrency"):
            return int(words[at + 1])
        if word.startswith("-c") and word[2:].isdigit():
            return int(word[2:])
    return configured().queue_workers


def _child_begins(**_: Any) -> None:
    worker()


def _child_ends(**_: Any) -> None:
    _end()


def _end() -> None:
    with _lock:
        ended = _running.pop(os.getpid(), None)
    if ended is not None:
        ended.stop()


def _set_up_logging(**_: Any) -> None:
    """Celery's own records come as ours do."""
    runtime.configure_log(configured())
