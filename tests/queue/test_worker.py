"""The pool of a worker takes no more than it has threads for, and nothing once it is closed."""

from __future__ import annotations

import threading

from orchestrator.workers.pool import Pool


def three_for_one_thread() -> tuple[Pool[int], threading.Semaphore, list[int]]:
    """A pool of one thread with three items, each of which is done when the gate is released once more."""
    gate, done = threading.Semaphore(0), list[int]()
    pool = Pool[int](1)

    def work(item: int) -> None:
        gate.acquire()
        done.append(item)

    pool.begin(work)
    for item in range(3):
        pool.submit(item)
    return pool, gate, done


def test_more_than_the_threads_wait_in_order():
    pool, gate, done = three_for_one_thread()

    rooms = pool.room
    for _ in range(3):
        gate.release()

    assert pool.wait_until_idle(5)
    assert (0, [0, 1, 2]) == (rooms, done)


def test_a_closed_pool_ends_what_it_began_and_begins_nothing_more():
    pool, gate, done = three_for_one_thread()

    pool.close()
    pool.submit(9)
    gate.release()

    assert pool.wait_until_idle(5)
    assert [0] == done
