"""The pool of threads that work."""

from __future__ import annotations

import threading

from orchestrator.workers.pool import Pool


def test_room_for_several_is_waited_for_and_no_longer_than_said():
    began, leave = threading.Event(), threading.Event()
    pool = Pool[int](2)
    pool.begin(lambda _: (began.set(), leave.wait(30))[0])
    pool.submit(1)
    assert began.wait(30)

    too_little = pool.wait_for_room(0.0, 2)
    leave.set()

    assert (1, 2) == (too_little, pool.wait_for_room(30, 2))
    assert (2, True) == (pool.wait_for_room(0.0), pool.wait_until_idle(30))
