"""A network that tests can stop: TCP proxies between the processes and what they talk to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any


class Network:
    """The loop, in a thread of its own, that carries the bytes of all links."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()
        self._links: list[Link] = []

    def link(self, target_port: int) -> Link:
        """A new way to a port of this machine."""
        made = Link(self, target_port)
        self.do(made.listen())
        self._links.append(made)
        return made

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something on the loop, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def stop(self) -> None:
        """End every connection."""
        for link in self._links:
            link.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Link:
    """One way to one port; `port` is where it begins."""

    def __init__(self, network: Network, target_port: int) -> None:
        self._network = network
        self._target_port = target_port
        self._open = asyncio.Event()
        self._open.set()
        self._ends = set[asyncio.StreamWriter]()
        self._tasks = set[asyncio.Task[None]]()
        self._refused = False
        self._word: bytes | None = None
        self.port = 0

    async def listen(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def freeze(self) -> None:
        """Let no byte through, as a switch that was unplugged: nobody is told."""
        self._network.do(self._do(self._open.clear))

    def thaw(self) -> None:
        """Let them through again, those that waited first."""
        self._network.do(self._do(self._open.set))

    def cut(self) -> None:
        """End every connection; new ones are welcome."""
        self._network.do(self._do(self._end_all))

    def refuse(self) -> None:
        """End every connection, and each new one at once."""
        self._refused = True
        self.cut()

    def allow(self) -> None:
        """Take connections again."""
        self._refused = False

    def cut_at(self, word: bytes | None) -> None:
        """From now on end a connection in the moment in which its client says this, before the far end hears of it."""
        self._word = word

    def close(self) -> None:
        """Take no more connections, and end those there are."""
        self._network.do(self._close())

    async def _close(self) -> None:
        self._server.close()
        self._end_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _do(self, what: Any) -> None:
        what()

    def _end_all(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._refused:
            writer.transport.abort()
            return
        self._tasks.add(task)
        self._ends.add(writer)
        with suppress(OSError, asyncio.CancelledError):
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._ends.add(far_writer)
            try:
                await asyncio.gather(
                    self._pass_on(reader, far_writer, heard=True), self._pass_on(far_reader, writer, heard=False)
                )
            finally:
                self._ends.discard(far_writer)
                far_writer.transport.abort()
        self._ends.discard(writer)
        self._tasks.discard(task)
        writer.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, heard: bool) -> None:
        """One direction; when it ends, both do: nothing here keeps half a connection."""
        try:
            while data := await source.read(65536):
                await self._open.wait()
                if heard and self._word is not None and self._word in data:
                    break
                sink.write(data)
                await sink.drain()
        finally:
            sink.transport.close() if self._open.is_set() else sink.transport.abort()
