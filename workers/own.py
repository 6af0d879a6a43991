"""What a worker of our own Celery application imports: the tasks, on that application."""

from __future__ import annotations

from orchestrator.celery import app, configured
from orchestrator.sdk.function import APPS
from orchestrator.workers import processes, tasks
from orchestrator.workers.processes import Setup

tasks.register(app)
processes.install(app, Setup(configured, apps=APPS))
