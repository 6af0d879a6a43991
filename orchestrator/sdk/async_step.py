"""The tools of an `async def` function: awaitables, so that `asyncio.gather` makes steps parallel.

Whatever the function awaits becomes a `Request` on the board; `sdk.loop` answers them when nothing else can go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, overload

from orchestrator.core.message import Op
from orchestrator.sdk import asks
from orchestrator.sdk.asks import Span
from orchestrator.sdk.execution import INVOKE, RUN, SIGNAL, SLEEP, TASK, WAIT, Execution, Found
from orchestrator.sdk.function import DurableFunction
from orchestrator.sdk.options import Retry
from orchestrator.sdk.step import received
from orchestrator.sdk.triggers import Event, NewEvent, ReceivedEvent
from orchestrator.sdk.values import encode

T = TypeVar("T")


@dataclass(slots=True)
class Request:
    """A step that somebody awaits: code to run, or something to ask for."""

    step: Found
    kind: str
    future: asyncio.Future[Any]
    body: Callable[[], Any] | None = None
    op: Op | None = None
    retry: Retry | None = None


@dataclass(slots=True)
class Board:
    """What is awaited now."""

    execution: Execution
    waiting: list[Request] = field(default_factory=list)

    async def ask(self, id: str, kind: str, make: Callable[[Found, datetime], Op]) -> Any:
        """Await something that takes time."""
        step = self.execution.identify(id)
        op = None if self.execution.knows(step) else make(step, self.execution.host.now())
        return await self._post(Request(step, kind, asyncio.get_running_loop().create_future(), op=op))

    async def run(self, id: str, body: Callable[[Found], Any], retry: Retry | None = None) -> Any:
        """Await a step that runs code."""
        step = self.execution.identify(id)
        future = asyncio.get_running_loop().create_future()
        return await self._post(Request(step, RUN, future, body=lambda: body(step), retry=retry))

    async def _post(self, request: Request) -> Any:
        self.waiting.append(request)
        return await request.future


class AsyncStep:
    """Durable steps.  The first argument of each is its id: your words, the same every time the function is called."""

    def __init__(self, board: Board) -> None:
        self._board = board

    @overload
    async def run(self, id: str, body: Callable[..., Awaitable[T]], *args: Any, retry: Retry | None = None) -> T: ...

    @overload
    async def run(self, id: str, body: Callable[..., T], *args: Any, retry: Retry | None = None) -> T: ...

    async def run(self, id: str, body: Callable[..., Any], *args: Any, retry: Retry | None = None) -> Any:
        """Call `body(*args)`, a coroutine function or a plain one, once; see `Step.run`."""
        execution = self._board.execution
        return await self._board.run(id, lambda step: body(*execution.arguments(step, args)), retry)

    async def sleep(self, id: str, duration: Span) -> None:
        """Sleep; costs a row and nothing else, however long."""
        await self._board.ask(id, SLEEP, lambda step, now: asks.sleep(step, now, duration, race=True))

    async def sleep_until(self, id: str, moment: datetime | str) -> None:
        """Sleep until a moment (with a time zone, or as an ISO-8601 text)."""
        await self._board.ask(id, SLEEP, lambda step, now: asks.sleep_until(step, now, moment, race=True))

    async def wait_for_event(
        self, id: str, event: Event | str, timeout: Span, *, look_back: bool = False
    ) -> ReceivedEvent | None:
        """Wait for an event; None when it did not come in time.  `look_back`: since the run's start counts."""
        return await self.wait_for_any(id, [event], timeout, look_back=look_back)

    async def wait_for_any(
        self, id: str, events: Sequence[Event | str], timeout: Span, *, look_back: bool = False
    ) -> ReceivedEvent | None:
        """Wait for the first of several events; None when none came in time."""
        memo = await self._board.ask(id, WAIT, lambda step, now: asks.wait(step, now, events, timeout, look_back))
        return received(memo, events)

    async def wait_for_all(
        self, id: str, events: Sequence[Event | str], timeout: Span, *, look_back: bool = False
    ) -> list[ReceivedEvent | None]:
        """Wait for one event of each kind; None in the place of each that did not come in time."""
        waits = [
            self.wait_for_event(f"{id}.{at}", event, timeout, look_back=look_back) for at, event in enumerate(events)
        ]
        return list(await asyncio.gather(*waits))

    async def wait_for_signal(self, id: str, signal: str, timeout: Span | None = None, *, replace: bool = False) -> Any:
        """Wait for a signal and return its data; None when it did not come in time."""
        value = await self._board.ask(id, SIGNAL, lambda step, now: asks.signal(step, now, signal, timeout, replace))
        return value.get("data") if isinstance(value, dict) else value

    async def task(self, id: str, signature: Any, *, retry: Retry | None = None) -> Any:
        """Let a Celery task of your own run on your workers, and return its result; see `Step.task`."""
        return await self._board.ask(id, TASK, lambda step, _: asks.task(step, signature, retry, race=True))

    async def invoke(
        self, id: str, function: DurableFunction[..., Any] | str, data: Any = None, *, timeout: Span | None = None
    ) -> Any:
        """Call another function (one of this process, or any by its slug) and return its result."""
        return await self._board.ask(id, INVOKE, lambda step, now: asks.invoke(step, now, function, data, timeout))

    async def send_event(self, id: str, event: str | NewEvent | Sequence[NewEvent], data: Any = None) -> list[str]:
        """Send events, once; returns their ids."""
        host = self._board.execution.host
        ids: list[str] = await self._hosted(id, lambda step: host.send(asks.new_events(event, data), step.id))
        return ids

    async def send_signal(self, id: str, signal: str, data: Any = None) -> bool:
        """Give a signal to the run that waits for it; False: none does."""
        host, text = self._board.execution.host, encode(data, f'signal "{signal}"')
        heard: bool = await self._hosted(id, lambda _: host.signal(signal, text))
        return heard

    async def _hosted(self, id: str, do: Callable[[Found], Any]) -> Any:
        def body(step: Found) -> Any:
            self._board.execution.takes_no_input(step)
            return do(step)

        return await self._board.run(id, body)
