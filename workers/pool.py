"""A pool of daemon threads, made as they are needed; the one that rested last goes first, so that its warm
connections are used again."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Works on items, at most `size` at once; more than that wait in order."""

    def __init__(self, size: int, name: str = "executor") -> None:
        self._work: Callable[[T], None] | None = None
        self._size = size
        self._name = name
        self._lock = threading.Condition()
        self._idle: list[_Thread[T]] = []
        self._backlog = deque[T]()
        self._threads = 0
        self._closed = False

    def begin(self, work: Callable[[T], None]) -> None:
        """Say what is to be done with items; nothing may be submitted before."""
        self._work = work

    @property
    def size(self) -> int:
        """How many items are worked on at once, at most."""
        return self._size

    @property
    def room(self) -> int:
        """How many items would be begun at once."""
        with self._lock:
            return max(0, self._room())

    def wait_for_room(self, timeout: float, least: int = 1) -> int:
        """Wait until there is room for `least`, or for `timeout` seconds; returns the room."""
        with self._lock:
            self._lock.wait_for(lambda: self._room() >= least, timeout)
            return max(0, self._room())

    def submit(self, item: T) -> None:
        """Begin an item, or let it wait for its turn."""
        with self._lock:
            if self._closed:
                return
            if self._idle:
                self._idle.pop().give(item)
            elif self._threads < self._size:
                self._threads += 1
                _Thread(self, item, f"{self._name}-{self._threads}").start()
            else:
                self._backlog.append(item)

    def run(self, item: T) -> None:
        """Do one item; for the pool's threads."""
        assert self._work is not None, "submitted before begin()"
        self._work(item)

    def close(self) -> None:
        """Begin nothing more; what waits for its turn is forgotten."""
        with self._lock:
            self._closed = True
            self._backlog.clear()

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until nothing is worked on, or for `timeout` seconds; returns whether nothing is."""
        with self._lock:
            return self._lock.wait_for(lambda: len(self._idle) == self._threads and not self._backlog, timeout)

    def _room(self) -> int:
        return self._size - self._threads + len(self._idle) - len(self._backlog)

    def next(self, thread: _Thread[T]) -> T | None:
        """The next item for a thread, or None: it rests now."""
        with self._lock:
            if self._backlog and not self._closed:
                return self._backlog.popleft()
            self._idle.append(thread)
            self._lock.notify_all()
            return None


class _Thread(threading.Thread, Generic[T]):
    def __init__(self, pool: Pool[T], item: T, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._pool = pool
        self._item: T | None = item
        self._given = threading.Semaphore(0)

    def give(self, item: T) -> None:
        self._item = item
        self._given.release()

    def run(self) -> None:
        while True:
            if self._item is not None:
                item, self._item = self._item, None
                self._pool.run(item)
            following = self._pool.next(self)
            if following is not None:
                self._item = following
            else:
                self._given.acquire()
