"""gunicorn's settings: `gunicorn -c python:orchestrator.api.gunicorn_conf orchestrator.api.wsgi:app`.

A process per core.  Threads are for what is not an event.  WEB_CONCURRENCY and PORT are the platforms' names.
"""

from __future__ import annotations

import os
from typing import Any

bind = f"0.0.0.0:{os.environ.get('PORT', '8288')}"
workers = int(os.environ.get("WEB_CONCURRENCY", os.cpu_count() or 1))
worker_class = "orchestrator.api.gunicorn_worker.LoopWorker"
threads = 16
keepalive = 75
#: An app's sync waits for the app; nothing else takes this long.
timeout = 60
graceful_timeout = 8
backlog = 1024
control_socket_disable = True
accesslog = None
errorlog = "-"
loglevel = "warning"


def post_worker_init(worker: Any) -> None:
    """Make the application before the first request comes, so that a wrong setting is told at once."""
    from orchestrator.api import wsgi

    wsgi.configure_log()
    wsgi.app.prepare()
