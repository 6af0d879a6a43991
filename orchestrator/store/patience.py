"""Patience with a database that is away while a process begins: a restart of both must not end the process."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from orchestrator import log
from orchestrator.store.database import is_connection_lost

_log = log.get(__name__)

#: How long a process that begins waits for its database.
PATIENCE = timedelta(seconds=30)
#: Seconds between two tries.
_PAUSE = 0.5

T = TypeVar("T")


def patiently(do: Callable[[], T], patience: timedelta = PATIENCE) -> T:
    """Do something, again and again while the database is away; after `patience` its error goes on up.

    Only for what may be done twice: a connection that ends tells nothing of what was committed.
    """
    end = time.monotonic() + patience / timedelta(seconds=1)
    away = False
    while True:
        try:
            return do()
        except Exception as error:
            if not is_connection_lost(error) or time.monotonic() >= end:
                raise
            if not away:
                _log.warning("waiting for the database", error=f"{type(error).__name__}: {error}")
            away = True
            time.sleep(_PAUSE)
