"""The team's Celery application, with one line more."""

from __future__ import annotations

import os

from celery import Celery

from orchestrator import Orchestrator

app = Celery("shop", broker=os.environ.get("CELERY_BROKER_URL", "amqp://localhost"), include=["shop.tasks"])
app.conf.imports = ["shop.functions"]

# This line: workers of `app` now run durable functions, too.
durable = Orchestrator("shop", celery=app)
