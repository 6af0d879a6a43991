"""Attach to a user's Celery application: its workers run durable functions beside its tasks, in whatever pool."""

from __future__ import annotations

import threading
from typing import Any

from celery import Celery, signals

from orchestrator.attach.settings import configuration
from orchestrator.queue import broker
from orchestrator.sdk.function import APPS
from orchestrator.workers import processes, tasks
from orchestrator.workers.processes import Setup

_lock = threading.Lock()
_attached: Celery | None = None


def attach(app: Celery) -> None:
    """Let the application's workers run the functions of this process's apps, too; a second time changes nothing.

    Raises `ValueError` for a second application: a process has one worker of ours.
    """
    global _attached
    with _lock:
        if _attached is app:
            return
        if _attached is not None:
            raise ValueError(
                f'functions run on one Celery application of a process, and that is "{_attached.main}" already'
            )
        _attached = app
    tasks.register(app)
    processes.install(app, Setup(lambda: configuration(app), apps=APPS, guest=True))
    signals.celeryd_after_setup.connect(_listen, weak=False)


def _listen(instance: Any = None, **_: Any) -> None:
    """Take our queues too, whatever queues the command line named."""
    if instance is None or _attached is None or instance.app is not _attached:
        return
    names = [broker.RUNNER_QUEUE, broker.EXECUTOR_QUEUE, *(broker.app_queue(app) for app in APPS)]
    for name in names:
        _attached.amqp.queues.select_add(broker.queue(name))
