"""Attach to a user's Celery application: its workers run durable functions beside its tasks, in whatever pool."""

from __future__ import annotations

import threading
from typing import Any

from celery import Celery, signals

from orchestrator.attach import tasks as steps
from orchestrator.attach.settings import configuration
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
    steps.install()
    signals.celeryd_after_setup.connect(_set_up, weak=False)
    signals.worker_process_init.connect(_wrap, weak=False)


def _set_up(instance: Any = None, **_: Any) -> None:
    if instance is not None and instance.app is _attached:
        _wrap()


def _wrap(**_: Any) -> None:
    """Let the application's tasks be steps; in the children of a pool again, which may have imported more."""
    if _attached is not None:
        steps.wrap(_attached)
