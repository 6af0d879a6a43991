"""Where in a Celery worker our worker lives: in the one process of threads, or in every child of prefork.

With prefork the parent only carries messages; each child has a worker of its own, made after the fork.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import celery
from celery import bootsteps, signals

from orchestrator import log
from orchestrator.config import Config
from orchestrator.engine.parts import Parts
from orchestrator.errors import OrchestratorError
from orchestrator.queue import broker
from orchestrator.sdk.function import Registry
from orchestrator.store.jobs import Hint
from orchestrator.workers import runtime
from orchestrator.workers.runtime import Runtime
from orchestrator.workers.wake import HubWake

_log = log.get(__name__)

#: Calls at once in a child of prefork when the command line names no number.
_CHILD_EXECUTORS = 16
_CONCURRENCY_FLAGS = ("-c", "--concurrency", "--autoscale")

#: Seconds that a task waits, when there is more at hand than can be begun: a guest must not hold up its host's tasks.
_PATIENCE, _GUESTS_PATIENCE = 5.0, 0.05


@dataclass(frozen=True, slots=True)
class Setup:
    """How the worker of a process is made."""

    config: Callable[[], Config]
    #: The apps that the process holds, complete when the worker begins.
    apps: Mapping[str, Registry] = field(default_factory=dict)
    #: The Celery application is not ours.
    guest: bool = False


_lock = threading.Lock()
_running: dict[int, Runtime] = {}
_setup: Setup | None = None


def accept(hints: Sequence[Hint]) -> None:
    """Give hints to the worker of this process, which is started at the first call."""
    worker = _here().worker.worker
    worker.accept(hints, _PATIENCE if _setup is None or not _setup.guest else _GUESTS_PATIENCE)


def parts() -> Parts:
    """What the worker of this process works with; it is started at the first call."""
    return _here().parts


def _here() -> Runtime:
    pid = os.getpid()
    with _lock:
        if pid not in _running:
            _running[pid] = _start(forked=True)
        return _running[pid]


def install(app: celery.Celery, setup: Setup) -> None:
    """Add our steps to the workers of an application; a guest changes nothing where our own worker runs."""
    global _setup
    if _setup is not None and setup.guest and not _setup.guest:
        return
    _setup = setup
    app.steps["worker"].add(WorkerStep)
    app.steps["consumer"].add(HubWake)
    signals.celeryd_after_setup.connect(_prepare, weak=False)
    signals.worker_process_init.connect(_child_begins, weak=False)
    signals.worker_process_shutdown.connect(_child_ends, weak=False)
    if not setup.guest:
        signals.setup_logging.connect(_set_up_logging, weak=False)


def _prepare(instance: Any = None, **_: Any) -> None:
    """Before the pool is there: take our queues whatever the command line named, or end with one sentence why not."""
    if instance is None or _setup is None or WorkerStep not in instance.app.steps["worker"]:
        return
    config = _setup.config()
    try:
        runtime.prepare(config, guest=_setup.guest)
    except OrchestratorError as error:
        raise SystemExit(f"orchestrator: {error.message}") from None
    told = broker.of(config) or broker.NOWHERE
    names = [broker.RUNNER_QUEUE, broker.EXECUTOR_QUEUE] if _setup.guest else []
    for name in (*names, *(broker.app_queue(app) for app, registry in _setup.apps.items() if not registry.empty)):
        instance.app.amqp.queues.select_add(told.queue(name))


def _start(*, forked: bool) -> Runtime:
    assert _setup is not None, "started before install()"
    config = _setup.config()
    return runtime.start(config, _executors(config, forked=forked), _setup.apps, guest=_setup.guest)


class WorkerStep(bootsteps.StartStopStep):
    """Runs our worker for as long as the Celery worker of a pool of threads runs."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:
        """Begin, unless the children of the pool will."""
        self._here = parent.pool_cls.__module__.rpartition(".")[2] != "prefork"
        if self._here:
            with _lock:
                _running[os.getpid()] = _start(forked=False)

    def stop(self, parent: Any) -> None:
        """Drain and end; tasks under way, for which Celery waits next, are waited for."""
        _end(outlast=True)

    def terminate(self, parent: Any) -> None:
        """Drain and end."""
        _end()


def _executors(config: Config, *, forked: bool) -> int:
    """Calls at once: what the command line says to Celery is meant for us, too."""
    named = [word for word in sys.argv if word.startswith(_CONCURRENCY_FLAGS)]
    if forked:
        return _CHILD_EXECUTORS
    return _named_concurrency(config) if named else config.queue_workers


def _named_concurrency(config: Config) -> int:
    words = sys.argv
    for at, word in enumerate(words):
        for flag in ("--concurrency=", "-c="):
            if word.startswith(flag):
                return int(word.removeprefix(flag))
        if word in ("-c", "--concurrency"):
            return int(words[at + 1])
        if word.startswith("-c") and word[2:].isdigit():
            return int(word[2:])
    return config.queue_workers


def _child_begins(**_: Any) -> None:
    accept([])


def _child_ends(**_: Any) -> None:
    _end()


def _end(*, outlast: bool = False) -> None:
    pid = os.getpid()
    with _lock:
        ended = _running.get(pid)
    if ended is not None:
        ended.stop(outlast=outlast)  # Known until then: tasks that end meanwhile are settled by its parts.
        with _lock:
            _running.pop(pid, None)


def _set_up_logging(**_: Any) -> None:
    """Celery's own records come as ours do."""
    if _setup is not None:
        runtime.configure_log(_setup.config())
