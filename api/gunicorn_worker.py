"""gunicorn's worker that serves on an event loop: events without a thread for each, the rest in threads.

Chosen in `api.gunicorn_conf`.  It serves `orchestrator.api.wsgi:app` only, and of gunicorn's settings it knows those
about sockets, processes, TLS, `threads`, `worker_connections`, `keepalive`, `graceful_timeout` and `max_requests`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

from gunicorn import sock
from gunicorn.workers.base import Worker

from orchestrator.api.server import HttpServer

#: Seconds between two signs of life for gunicorn.
SIGN = 1.0


class LoopWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """One web process."""

    def init_process(self) -> None:
        """Prepare and run; called by gunicorn in the new process."""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._grace = float(self.cfg.graceful_timeout)
        super().init_process()

    def init_signals(self) -> None:
        """Let signals come in as events of the loop, which they wake."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self._loop.add_signal_handler(signal.SIGTERM, self._end, self._grace)
        for number in (signal.SIGINT, signal.SIGQUIT):
            self._loop.add_signal_handler(number, self._end, 0.0)
        self._loop.add_signal_handler(signal.SIGUSR1, self.log.reopen_files)
        self._loop.add_signal_handler(signal.SIGWINCH, lambda: None)
        signal.signal(signal.SIGABRT, self.handle_abort)

    def run(self) -> None:
        """Serve until told to end."""
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    def _end(self, grace: float) -> None:
        self.alive = False
        self._grace = grace
        self._stop.set()

    async def _serve(self) -> None:
        server = HttpServer(
            self.wsgi.prepare(),
            threads=self.cfg.threads,
            connections=self.cfg.worker_connections,
            keepalive=self.cfg.keepalive,
            most_requests=self.max_requests,
            enough=self._stop.set,
        )
        tls = sock.ssl_context(self.cfg) if self.cfg.is_ssl else None
        for listener in self.sockets:
            listener.sock.setblocking(False)
            await server.listen(listener.sock, tls)
        while not self._stop.is_set() and self.ppid == os.getppid():  # another parent: gunicorn is gone
            self.notify()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), SIGN)
        self.alive = False
        stopping = asyncio.ensure_future(server.stop(self._grace))
        while not stopping.done():
            self.notify()
            await asyncio.wait({stopping}, timeout=SIGN)
