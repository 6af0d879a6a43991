"""Group commit: what several threads want written while one write is under way goes into the next write together.

Theory.  At any moment at most one thread owns the right to write (`_busy`).  A caller who finds nobody writing takes
the right and writes its own item at once, in its own thread: a lone caller waits for nothing.  A caller who finds it
taken leaves its item in `_waiting` and sleeps on its own lock.  An owner who is done gives the right back if nobody
waits, else hands it, still taken, to the committer thread, which writes group after group until nobody waits.  So no
wake-up is lost, nobody overtakes those who wait, and a group grows by itself with the time one write takes.  A caller
that must not sleep, as an event loop must not, leaves its item there in any case, and is told the outcome.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from orchestrator.errors import OrchestratorError

T = TypeVar("T")
R = TypeVar("R")


class ClosedError(OrchestratorError):
    """Nothing more is written here: the process is shutting down."""


class GroupCommitter(Generic[T, R]):
    """Turns `submit(item)` of many threads into few calls of `write(items)`, never two of them at once.

    `write` returns one result for each item, in order, and must be safe to repeat: when a group fails, each of its
    items is written again alone, so that a bad one fails only its own caller.  `apart` tells for which errors that is
    worth trying (a database that is down fails for everybody); `weight` tells what an item counts for in `max_items`.
    """

    def __init__(
        self,
        write: Callable[[list[T]], Sequence[R]],
        *,
        max_items: int = 64,
        weight: Callable[[T], int] = lambda item: 1,
        apart: Callable[[Exception], bool] = lambda error: True,
    ) -> None:
        self._write = write
        self._max_items = max_items
        self._weight = weight
        self._apart = apart
        self._closed = False
        self._start_afresh()
        _committers.add(self)

    def _start_afresh(self) -> None:
        """Forget the threads, and with them what they held: none of them lives on in a forked child."""
        self._gate = threading.Lock()
        self._idle = threading.Condition(self._gate)
        self._waiting: deque[_Waiting[T, R] | _Handed[T, R]] = deque()
        self._busy: bool = False
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, item: T) -> R:
        """Return the result of `item` once its group is written, or raise what its write raised."""
        weight = self._weight(item)
        with self._gate:
            if self._closed:
                raise ClosedError
            waiting = _Waiting[T, R](item, weight) if self._busy else None
            if waiting is None:
                self._busy = True
            else:
                self._waiting.append(waiting)
        if waiting is not None:
            return waiting.outcome()
        try:
            return self._write_alone(item)
        finally:
            self._pass_on()

    def submit_soon(self, item: T, done: Callable[[R | BaseException], None]) -> None:
        """Hand an item over and go on: `done` gets its result, or what its write raised.

        `done` is called by the committer thread, must be quick, and must not raise.
        """
        with self._gate:
            if self._closed:
                raise ClosedError
            self._waiting.append(_Handed(item, self._weight(item), done))
            if self._busy:
                return
            self._busy = True
        self._pass_on()

    def close(self) -> None:
        """Refuse new items, and return when those already submitted are written."""
        with self._gate:
            self._closed = True
            while self._busy:
                self._idle.wait()
            thread, self._thread = self._thread, None
        if thread is not None:
            self._bell.put(False)
            thread.join()

    def _pass_on(self) -> None:
        with self._gate:
            if not self._waiting:
                self._give_back()
                return
        if self._committing():
            self._bell.put(True)
        else:
            self._drain()

    def _committing(self) -> bool:
        """Whether there is a committer thread, started if need be.  Only the owner of the right comes here."""
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name="group-committer", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads: those who wait must not pay for it
                return False
            self._thread = thread
        return True

    def _give_back(self) -> None:
        self._busy = False
        self._idle.notify_all()

    def _serve(self) -> None:
        while self._bell.get():
            self._drain()

    def _drain(self) -> None:
        while group := self._next_group():
            self._commit(group)

    def _next_group(self) -> list[_Waiting[T, R] | _Handed[T, R]]:
        """The longest-waiting items that fit together, one too heavy alone; if none waits, the right is given back."""
        group: list[_Waiting[T, R] | _Handed[T, R]] = []
        room = self._max_items
        with self._gate:
            while self._waiting:
                room -= self._waiting[0].weight
                if group and room < 0:
                    break
                group.append(self._waiting.popleft())
            if not group:
                self._give_back()
        return group

    def _commit(self, group: list[_Waiting[T, R] | _Handed[T, R]]) -> None:
        try:
            results = self._write_all([waiting.item for waiting in group])
        except Exception as error:
            if len(group) > 1 and self._apart(error):
                self._commit_apart(group)
            else:
                _fail(group, error)
        except BaseException as error:  # a caller must never be left asleep
            _fail(group, error)
        else:
            for waiting, result in zip(group, results, strict=True):
                waiting.succeed(result)

    def _commit_apart(self, group: list[_Waiting[T, R] | _Handed[T, R]]) -> None:
        for waiting in group:
            try:
                waiting.succeed(self._write_alone(waiting.item))
            except BaseException as error:
                waiting.fail(error)

    def _write_alone(self, item: T) -> R:
        return self._write_all([item])[0]

    def _write_all(self, items: list[T]) -> Sequence[R]:
        results = self._write(items)
        if len(results) != len(items):
            raise OrchestratorError(f"a group of {len(items)} items was written with {len(results)} results")
        return results


class _Waiting(Generic[T, R]):
    """One caller's item, and the lock the caller sleeps on until it has an outcome."""

    __slots__ = ("_done", "_error", "_result", "item", "weight")

    def __init__(self, item: T, weight: int) -> None:
        self.item = item
        self.weight = weight
        self._result: R
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def outcome(self) -> R:
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return self._result

    def succeed(self, result: R) -> None:
        self._result = result
        self._done.release()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._done.release()


class _Handed(Generic[T, R]):
    """An item whose caller does not sleep, and what is to be told its outcome."""

    __slots__ = ("_done", "item", "weight")

    def __init__(self, item: T, weight: int, done: Callable[[R | BaseException], None]) -> None:
        self.item = item
        self.weight = weight
        self._done = done

    def succeed(self, result: R) -> None:
        self._done(result)

    def fail(self, error: BaseException) -> None:
        self._done(error)


def _fail(group: Sequence[_Waiting[T, R] | _Handed[T, R]], error: BaseException) -> None:
    for waiting in group:
        waiting.fail(error)


_committers: WeakSet[GroupCommitter[Any, Any]] = WeakSet()


def _forget_threads() -> None:
    for committer in list(_committers):
        committer._start_afresh()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_forget_threads)
