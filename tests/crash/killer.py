"""The command line in a process that kills itself around its n-th commit after the first event came in.

`python -m tests.crash.killer N before|after dev ...`
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection

from orchestrator.cli.main import main
from orchestrator.core.event import Event
from orchestrator.engine.ingest import Ingest
from orchestrator.store.database import Database

kill_at, moment = int(sys.argv[1]), sys.argv[2]
armed = threading.Event()
lock = threading.Lock()
count = 0

accept, accept_soon, write = Ingest.accept, Ingest.accept_soon, Database.write


def counting_accept(self: Ingest, received: Sequence[Event]) -> list[str]:
    armed.set()
    return accept(self, received)


def counting_accept_soon(
    self: Ingest, received: Sequence[Event], done: Callable[[list[str] | BaseException], None]
) -> None:
    armed.set()
    accept_soon(self, received, done)


def reached() -> bool:
    """Whether this is the commit.  Those of chores do not count: they come at any time, also while a body runs."""
    global count
    if threading.current_thread().name in ("sweeper", "heartbeat"):
        return False
    with lock:
        count += armed.is_set()
        return count == kill_at


@contextmanager
def killing_write(self: Database) -> Iterator[Connection]:
    last = False
    with write(self) as connection:
        yield connection
        last = reached()
        if last and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
    if last:
        os.kill(os.getpid(), signal.SIGKILL)


Ingest.accept = counting_accept  # type: ignore[method-assign]
Ingest.accept_soon = counting_accept_soon  # type: ignore[method-assign]
Database.write = killing_write  # type: ignore[method-assign]
sys.argv[1:] = sys.argv[3:]
main()
