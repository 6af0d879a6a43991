"""The Celery tasks: they bring hints to the worker of their process, and nothing else.

Tasks are acknowledged early and ignore their results: a hint that is lost with a process is found again by a sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import celery

from orchestrator.queue.announce import read_hints
from orchestrator.queue.broker import EXECUTOR_TASK, RUNNER_TASK
from orchestrator.workers import processes

Hints = Sequence[Sequence[Any]]


def register(app: celery.Celery) -> None:
    """Add our tasks to an application."""

    @app.task(name=RUNNER_TASK, ignore_result=True, acks_late=False)
    def runner(hints: Hints) -> None:
        """Match jobs are ready, and cron jobs are or will be."""
        processes.accept(read_hints(hints))

    @app.task(name=EXECUTOR_TASK, ignore_result=True, acks_late=False)
    def executor(hints: Hints) -> None:
        """Call jobs and timers are, or will soon be, ready."""
        processes.accept(read_hints(hints))
