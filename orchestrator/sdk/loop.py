"""Run an `async def` function until it cannot go on without the server.

The function runs on an event loop whose selector says when nothing is ready any more.  Then the board is looked at:
outcomes that are known are given one at a time, in the order in which they were stored (so that a race has the same
winner every time); one new step alone runs on the spot; several are planned, and the call is over.  Bodies of plain
functions run between two turns of the loop, so that they may use a loop of their own.
"""

from __future__ import annotations

import asyncio
import inspect
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from orchestrator.sdk.async_step import Board, Request
from orchestrator.sdk.errors import Interrupt, NotDeterministic, StepError
from orchestrator.sdk.execution import Execution, inside

#: Turns of the loop that a function which is being left gets to end.
_LAST_TURNS = 100

_threads = threading.local()


class _Selector(selectors.DefaultSelector):
    """Tells when the loop would begin to wait."""

    on_idle: Callable[[], bool] | None = None

    def select(self, timeout: float | None = None) -> Any:
        """Wait as the loop asks to; but first say that there is nothing to do, which may change that.

        Meanwhile no loop runs in this thread: under gevent others of its greenlets may run theirs.
        """
        running = asyncio.events._get_running_loop()
        asyncio.events._set_running_loop(None)
        try:
            if timeout is None or timeout > 0:
                ready = super().select(0)
                if ready or (self.on_idle is not None and self.on_idle()):
                    return ready
            return super().select(timeout)
        finally:
            asyncio.events._set_running_loop(running)


class Pump:
    """Drives one call of an async function."""

    def __init__(self, execution: Execution, board: Board) -> None:
        self._execution = execution
        self._board = board
        self._order = {step_id: at for at, step_id in enumerate(execution.memo)}
        self._loop, self._selector = _loop()
        self._until: asyncio.Task[Any] | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The function's result.  Raises what it raises, or `Interrupt` when it cannot go on by itself."""
        main = self._loop.create_task(coroutine)
        try:
            while True:
                self._turn(main)
                if main.done():
                    return main.result()
                self._answer()
        finally:
            self._leave()

    def _turn(self, until: asyncio.Task[Any]) -> None:
        """Let the loop run until the task ends, or until everything waits for the board."""
        if until.done():
            return
        until.add_done_callback(self._stop)
        self._selector.on_idle = self._idle
        try:
            self._loop.run_forever()
        finally:
            self._selector.on_idle = None
            until.remove_done_callback(self._stop)

    def _stop(self, _task: object) -> None:
        self._loop.stop()

    def _idle(self) -> bool:
        if self._until is None and not self._board.waiting:
            return False  # The function awaits something of the world, not of ours.
        if self._until is not None and self._known() is None:
            return False  # The body of a step does.
        self._loop.stop()
        return True

    def _answer(self) -> None:
        """Answer one request, or end the call with all of them."""
        known = self._known()
        if known is not None:
            self._give(known)
            return
        waiting, execution = self._board.waiting, self._execution
        if execution.target is not None:
            wanted = [it for it in waiting if it.step.id == execution.target and it.body is not None]
        else:
            wanted = [it for it in waiting if it.body is not None]
            if len(waiting) > 1 or execution.plan_only or not wanted:
                self._hand_over()
        if not wanted:
            raise Interrupt
        waiting.remove(wanted[0])
        self._perform(wanted[0])

    def _hand_over(self) -> None:
        for request in self._board.waiting:
            if request.body is not None:
                self._execution.plan(request.step, race=True)
            elif request.op is not None:
                self._execution.ask(request.op)
        raise Interrupt

    def _known(self) -> Request | None:
        """Of the requests whose outcome is known, the one that was stored first."""
        known = [it for it in self._board.waiting if self._execution.knows(it.step)]
        return min(known, key=lambda it: self._order.get(it.step.id, len(self._order)), default=None)

    def _give(self, request: Request) -> None:
        self._board.waiting.remove(request)
        if request.future.done():
            return  # Whoever awaited it was cancelled.
        try:
            request.future.set_result(self._execution.outcome(request.step, request.kind))
        except (StepError, NotDeterministic) as error:
            request.future.set_exception(error)

    def _perform(self, request: Request) -> None:
        execution, step = self._execution, request.step
        assert request.body is not None
        started = execution.begin()
        try:
            with inside(step):
                value = request.body()
                if inspect.isawaitable(value):
                    value = self._awaited(value)
            execution.finish(step, value, started)
        except Exception as error:
            execution.fail(step, error, request.retry, started)
            raise Interrupt from None
        self._board.waiting.insert(0, request)
        self._give(request)

    def _awaited(self, value: Any) -> Any:
        async def body() -> Any:
            return await value

        self._until = self._loop.create_task(body())
        try:
            while not self._until.done():
                self._turn(self._until)
                known = self._known() if not self._until.done() else None
                if known is not None:
                    self._give(known)
            return self._until.result()
        finally:
            self._until.cancel()
            self._until = None

    def _leave(self) -> None:
        """End whatever of the function still runs, within bounds; nothing of it may begin a step any more."""
        self._execution.over = True
        for _ in range(_LAST_TURNS):
            left = asyncio.all_tasks(self._loop)
            if not left:
                return
            for task in left:
                task.cancel()
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()
        _threads.loop = None


def _loop() -> tuple[asyncio.AbstractEventLoop, _Selector]:
    """The loop of this thread, made at its first use."""
    found: tuple[asyncio.AbstractEventLoop, _Selector] | None = getattr(_threads, "loop", None)
    if found is None:
        selector = _Selector()
        loop = asyncio.SelectorEventLoop(selector)
        loop.set_exception_handler(lambda _loop, _context: None)
        found = _threads.loop = (loop, selector)
    return found
