"""An HTTP server on an event loop, for a WSGI application that may answer some requests without a thread.

`orchestrator dev` and `start` run it in a thread of theirs (`HttpThread`), gunicorn in each of its processes
(`api.gunicorn_worker`).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from orchestrator.api.connection import Connection
from orchestrator.api.incoming import Room
from orchestrator.api.wsgi_call import Headers, call

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

#: Large bodies that may be held at once, each as large as may be.
LARGE_AT_ONCE = 16
#: Seconds between two looks for clients that keep us waiting.
LOOK = 1.0


class Application(Protocol):
    """What is served: WSGI, and a short way for requests that need no thread."""

    @property
    def most_body(self) -> int:
        """The most bytes of a body it reads."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse, /) -> Iterable[bytes]:
        """Answer a request; called in a thread."""

    def answer_soon(self, environ: WSGIEnvironment, answer: Callable[[str, Headers, bytes], None]) -> bool:
        """Have `answer` called, from any thread, without waiting for it; False: the request needs a thread."""

    def stop_waiting(self) -> None:
        """Answer whoever waits for something to happen, and from now on whoever comes to: the server stops."""


class HttpServer:
    """Connections, the threads that answer what cannot be answered on the loop, and the patience with clients."""

    def __init__(
        self,
        app: Application,
        *,
        threads: int = 16,
        connections: int = 1000,
        keepalive: float = 75.0,
        most_requests: int = sys.maxsize,
        enough: Callable[[], None] = lambda: None,
    ) -> None:
        """`enough` is called when `most_requests` have come."""
        self.loop = asyncio.get_running_loop()
        self.keepalive = keepalive
        self.scheme = "http"
        self.room = Room(app.most_body, LARGE_AT_ONCE * app.most_body)
        self.stopping = False
        self._app = app
        self._requests_left = most_requests
        self._enough = enough
        self._threads = _Threads(threads)
        self._most_connections = connections
        self._connections = set[Connection]()
        self._empty = asyncio.Event()
        self._listeners = list[tuple[asyncio.Server, ssl.SSLContext | None]]()
        self._deeds = deque[Callable[[], None]]()
        self._woken = False
        self._date = (0, "")
        self._look = self.loop.call_later(LOOK, self._look_after)

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Answer what comes in by a bound socket."""
        self.scheme = "https" if tls is not None else "http"
        server = await self.loop.create_server(lambda: Connection(self), sock=listener, ssl=tls)
        self._listeners.append((server, tls))

    async def stop(self, grace: float) -> None:
        """Take no more, answer what is under way for at most `grace` seconds, and close every connection."""
        self.stopping = True
        self._app.stop_waiting()
        for listener, tls in self._listeners:
            for own in listener.sockets:
                await self._take_rest(own.fileno(), tls)
            listener.close()
        for connection in list(self._connections):
            connection.close_soon()
        if self._connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), grace)
        for connection in list(self._connections):
            connection.abort()
        self._look.cancel()
        self._threads.close()
        await asyncio.sleep(0)  # what was closed says so on the next round of the loop

    async def _take_rest(self, listening: int, tls: ssl.SSLContext | None) -> None:
        """Take what has come to a listener and was not taken yet: the kernel would reset it when the listener goes."""
        self.loop.remove_reader(listening)
        with socket.socket(fileno=os.dup(listening)) as listener:
            listener.setblocking(False)
            with suppress(OSError):  # nothing more
                while True:
                    client, _ = listener.accept()
                    client.setblocking(False)
                    await self.loop.connect_accepted_socket(lambda: Connection(self), client, ssl=tls)

    # --- for connections

    def opened(self, connection: Connection) -> bool:
        """Take note of a connection; returns whether there is room for it."""
        self._connections.add(connection)
        self._empty.clear()
        return len(self._connections) <= self._most_connections

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def date(self) -> str:
        """The time as HTTP writes it."""
        second = int(self.loop.time())
        if second != self._date[0]:
            self._date = second, formatdate(usegmt=True)
        return self._date[1]

    def on_loop(self, deed: Callable[[], None]) -> None:
        """Do something on the loop, soon; from any thread.  Deeds of one moment wake the loop once."""
        self._deeds.append(deed)
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop is closed, and with it every connection
                self.loop.call_soon_threadsafe(self._do_deeds)

    def _do_deeds(self) -> None:
        self._woken = False  # before the first deed is taken: what is added from now on wakes the loop again
        while self._deeds:
            self._deeds.popleft()()

    def serve(self, environ: WSGIEnvironment, connection: Connection) -> None:
        """Have a request answered by the methods of `Way`."""
        self._requests_left -= 1
        if self._requests_left == 0:
            self.stopping = True  # each answer from now on is the last of its connection
            self._enough()
        if not self._app.answer_soon(environ, connection.whole):
            self._threads.submit(partial(call, self._app, environ, connection))

    def _look_after(self) -> None:
        now = self.loop.time()
        for connection in list(self._connections):
            connection.check(now)
        self._look = self.loop.call_later(LOOK, self._look_after)


class HttpThread:
    """A server in a thread of its own."""

    def __init__(self, app: Application, listener: socket.socket, *, threads: int) -> None:
        self._app = app
        self._listener = listener
        self._most = threads
        self._stop: asyncio.Event
        self._ready = Future[asyncio.AbstractEventLoop]()
        self._grace = 0.0
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Begin to answer; returns when it does."""
        self._thread.start()
        self._loop = self._ready.result()

    def stop(self, grace: float) -> None:
        """End, with at most `grace` seconds for requests under way."""
        if not self._thread.is_alive():
            self._listener.close()
            return
        self._grace = grace
        with suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(grace + 1)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        try:
            self._stop = asyncio.Event()
            server = HttpServer(self._app, threads=self._most)
            await server.listen(self._listener)
        except BaseException as error:
            self._ready.set_exception(error)
            raise
        self._ready.set_result(asyncio.get_running_loop())
        await self._stop.wait()
        await server.stop(self._grace)


class _Threads:
    """Daemon threads, made as they are needed: one that hangs must not keep the process from ending."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._resting = threading.Semaphore(0)

    def submit(self, work: Callable[[], None]) -> None:
        """Begin work, or let it wait for its turn; always called by the same thread."""
        self._work.put(work)
        if not self._resting.acquire(blocking=False) and self._count < self._most:
            threading.Thread(target=self._serve, name=f"http-{self._count}", daemon=True).start()
            self._count += 1

    def close(self) -> None:
        """End the threads, each when it has done what it does."""
        for _ in range(self._count):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            self._resting.release()
