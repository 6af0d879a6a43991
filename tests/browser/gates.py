"""Functions that stay where they are until a test lets them go on: so that what is shown of them holds still."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import inngest

from tests.wire.harness import DEADLINE, App, Server

Declare = Callable[[App], list[inngest.Function]]


class Gate:
    """A place that nobody passes before it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        """Let everybody pass, now and later."""
        self._open.set()

    def pass_(self) -> str:
        """Wait until it is open."""
        assert self._open.wait(DEADLINE), "nobody opened the gate"
        return "passed"


@contextmanager
def serving(server: Server, app_id: str, declare: Declare) -> Iterator[App]:
    """An app of a test's own, which is out of service afterwards."""
    app = App(server.url, app_id, server.keys)
    app.serve(declare(app))
    try:
        yield app
    finally:
        app.stop()
