"""gunicorn's settings: `gunicorn -c python:orchestrator.api.gunicorn_conf orchestrator.api.wsgi:app`.

Threads, because a request waits for a commit; a process per core.  WEB_CONCURRENCY and PORT are the platforms' names.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

bind = f"0.0.0.0:{os.environ.get('PORT', '8288')}"
workers = int(os.environ.get("WEB_CONCURRENCY", os.cpu_count() or 1))
worker_class = "gthread"
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


#: A client that sends nothing for this long, or takes nothing, is given up: each holds one of few threads.
SILENCE = 10


def post_worker_init(worker: Any) -> None:
    """Make the application before the first request comes, so that a wrong setting is told at once."""
    for listener in worker.sockets:  # what is accepted from it inherits its options
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            listener.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", SILENCE, 0))
    from orchestrator.api import wsgi

    wsgi.configure_log()
    wsgi.app.prepare()
