"""The configuration of a process that is the user's: the environment, and what its Celery application already knows."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import config

if TYPE_CHECKING:
    from celery import Celery


def configuration(celery: Celery | None) -> config.Config:
    """The settings; without a broker of our own, hints go over the application's, with its options.

    Raises `ConfigError`.
    """
    settings = config.load(os.environ, {"mode": "start"}, config.find_file(os.environ, Path.cwd()))
    own = celery.conf.broker_write_url or celery.conf.broker_url if celery is not None else None
    if settings.broker_url is None and own:
        theirs = dict(celery.conf.broker_transport_options or {}) if celery is not None else {}
        return replace(settings, broker_url=str(own), broker_options=settings.broker_options or theirs)
    return settings
