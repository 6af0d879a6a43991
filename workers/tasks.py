"""The Celery tasks: they bring hints to the worker of their process, and nothing else.

Tasks are acknowledged early and ignore their results: a hint that is lost with a process is found again by a sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.celery import app
from orchestrator.queue.announce import read_hints
from orchestrator.queue.broker import EXECUTOR_TASK, RUNNER_TASK
from orchestrator.workers import processes


@app.task(name=RUNNER_TASK, ignore_result=True)
def runner(hints: Sequence[Sequence[Any]]) -> None:
    """Match jobs are ready, and cron jobs are or will be."""
    processes.worker().accept(read_hints(hints))


@app.task(name=EXECUTOR_TASK, ignore_result=True)
def executor(hints: Sequence[Sequence[Any]]) -> None:
    """Call jobs and timers are, or will soon be, ready."""
    processes.worker().accept(read_hints(hints))


processes.install(app)
