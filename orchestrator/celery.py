"""The Celery application: `celery -A orchestrator worker`.

Tasks are known here by their names only; the worker imports them by the `imports` setting.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import celery

from orchestrator import config
from orchestrator.queue import broker

#: Ways to name a pool on the command line; then it is not ours to choose.
_POOL_FLAGS = ("-P", "--pool")


def make_app(settings: config.Config) -> celery.Celery:
    """The application for a configuration."""
    made = celery.Celery("orchestrator", set_as_current=False)
    made.conf.update(broker.celery_settings(broker.of(settings)))
    if not any(word.startswith(_POOL_FLAGS) for word in sys.argv):
        made.conf.worker_pool = "threads"
    return made


def configured() -> config.Config:
    """The configuration of this process: environment and file."""
    return config.load(os.environ, {"mode": "start"}, config.find_file(os.environ, Path.cwd()))


app = make_app(configured())
