"""Group commit: who shares a write, who gets which outcome, and that nobody is left waiting."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.store.group import ClosedError, GroupCommitter

PATIENCE = 10


class Ledger:
    """A write that records its groups, and can be held at its first group until released."""

    def __init__(self, hold: bool = False) -> None:
        self.groups: list[list[int]] = []
        self.entered = threading.Event()
        self.released = threading.Event()
        self.bad: dict[int, Exception] = {}
        self.threads: set[str] = set()
        self._inside = threading.Lock()
        if not hold:
            self.released.set()

    def write(self, items: list[int]) -> Sequence[str]:
        assert self._inside.acquire(blocking=False), "two writes at once"
        try:
            self.threads.add(threading.current_thread().name)
            self.entered.set()
            assert self.released.wait(PATIENCE)
            for item in items:
                if item in self.bad:
                    raise self.bad[item]
            self.groups.append(list(items))
            return [f"result {item}" for item in items]
        finally:
            self._inside.release()


def queued(committer: GroupCommitter[int, str], count: int) -> None:
    """Return when `count` callers wait in the committer (they have no other way to tell us)."""
    deadline = threading.Event()
    for _ in range(PATIENCE * 1_000):
        if len(committer._waiting) >= count:
            return
        deadline.wait(0.001)
    raise AssertionError(f"{len(committer._waiting)} callers wait, not {count}")


class Callers:
    """Callers in threads of their own, each queued before the next one comes."""

    def __init__(self, committer: GroupCommitter[int, str], ledger: Ledger) -> None:
        self._committer = committer
        self._ledger = ledger
        self._pool = ThreadPoolExecutor(32)
        self._first: Future[str] = self._pool.submit(committer.submit, 0)
        assert ledger.entered.wait(PATIENCE)

    def submit(self, *items: int) -> list[Future[str]]:
        futures = []
        for item in items:
            futures.append(self._pool.submit(self._committer.submit, item))
            queued(self._committer, len(futures))
        return futures

    def release(self) -> None:
        self._ledger.released.set()
        assert "result 0" == self._first.result(PATIENCE)


def outcomes(futures: list[Future[str]]) -> list[str]:
    return [str(future.exception(PATIENCE) or future.result()) for future in futures]


def test_a_lone_caller_writes_at_once_in_its_own_thread() -> None:
    ledger = Ledger()
    committer = GroupCommitter(ledger.write)

    assert ["result 1", "result 2"] == [committer.submit(1), committer.submit(2)]
    assert [[1], [2]] == ledger.groups
    assert {threading.current_thread().name} == ledger.threads


def test_all_who_come_during_a_write_share_the_next_in_order() -> None:
    # Given a write that is under way
    ledger = Ledger(hold=True)
    callers = Callers(GroupCommitter(ledger.write), ledger)

    # When five more callers come meanwhile
    futures = callers.submit(1, 2, 3, 4, 5)
    callers.release()

    # Then they are written together and each gets its own result
    assert [f"result {item}" for item in range(1, 6)] == outcomes(futures)
    assert [[0], [1, 2, 3, 4, 5]] == ledger.groups


def test_a_group_has_at_most_the_given_number_of_items() -> None:
    ledger = Ledger(hold=True)
    callers = Callers(GroupCommitter(ledger.write, max_items=2), ledger)

    futures = callers.submit(1, 2, 3, 4, 5)
    callers.release()

    outcomes(futures)
    assert [[0], [1, 2], [3, 4], [5]] == ledger.groups


def test_heavy_items_fill_a_group_sooner_and_one_too_heavy_goes_alone() -> None:
    ledger = Ledger(hold=True)
    callers = Callers(GroupCommitter(ledger.write, max_items=10, weight=lambda item: item), ledger)

    futures = callers.submit(4, 6, 1, 50, 2, 3)
    callers.release()

    outcomes(futures)
    assert [[0], [4, 6], [1], [50], [2, 3]] == ledger.groups


def test_a_bad_item_fails_only_its_own_caller() -> None:
    ledger = Ledger(hold=True)
    ledger.bad[2] = ValueError("bad 2")
    callers = Callers(GroupCommitter(ledger.write), ledger)

    futures = callers.submit(1, 2, 3)
    callers.release()

    assert ["result 1", "bad 2", "result 3"] == outcomes(futures)
    assert [[0], [1], [3]] == ledger.groups


def test_an_error_that_is_nobodys_fault_fails_the_group_at_once() -> None:
    ledger = Ledger(hold=True)
    ledger.bad[1] = ConnectionError("database is down")
    callers = Callers(GroupCommitter(ledger.write, apart=lambda error: not isinstance(error, OSError)), ledger)

    futures = callers.submit(1, 2)
    callers.release()

    assert ["database is down"] * 2 == outcomes(futures)
    assert [[0]] == ledger.groups


def test_a_lone_caller_gets_the_error_and_the_next_one_is_served() -> None:
    ledger = Ledger()
    ledger.bad[1] = ValueError("bad 1")
    committer = GroupCommitter(ledger.write)

    with pytest.raises(ValueError, match="bad 1"):
        committer.submit(1)

    assert "result 2" == committer.submit(2)


def test_even_a_write_that_asks_to_exit_leaves_nobody_waiting() -> None:
    ledger = Ledger(hold=True)

    def write(items: list[int]) -> Sequence[str]:
        if len(items) > 1:
            raise SystemExit("leaving")
        return ledger.write(items)

    callers = Callers(GroupCommitter(write), ledger)
    futures = callers.submit(1, 2)
    callers.release()

    assert ["leaving"] * 2 == outcomes(futures)


def test_a_write_with_the_wrong_number_of_results_is_an_error() -> None:
    committer: GroupCommitter[int, str] = GroupCommitter(lambda items: [])

    with pytest.raises(OrchestratorError, match="1 items was written with 0 results"):
        committer.submit(1)


def test_a_caller_that_goes_on_shares_the_group_of_those_who_wait_and_is_told_its_result() -> None:
    # Given a write under way, and callers of both kinds that come meanwhile
    ledger = Ledger(hold=True)
    committer = GroupCommitter(ledger.write)
    callers = Callers(committer, ledger)
    told: SimpleQueue[str | BaseException] = SimpleQueue()
    (first,) = callers.submit(1)
    committer.submit_soon(2, told.put)

    callers.release()

    assert ("result 1", "result 2") == (first.result(PATIENCE), told.get(timeout=PATIENCE))
    assert [[0], [1, 2]] == ledger.groups


def test_a_caller_that_goes_on_never_writes_itself() -> None:
    ledger = Ledger()
    committer = GroupCommitter(ledger.write)
    told: SimpleQueue[str | BaseException] = SimpleQueue()

    for item in (1, 2):
        committer.submit_soon(item, told.put)
        assert f"result {item}" == told.get(timeout=PATIENCE)

    assert {"group-committer"} == ledger.threads


def test_a_caller_that_goes_on_is_told_what_went_wrong_with_its_own_item() -> None:
    ledger = Ledger(hold=True)
    ledger.bad[2] = ValueError("bad")
    committer = GroupCommitter(ledger.write)
    callers = Callers(committer, ledger)
    told: dict[int, SimpleQueue[str | BaseException]] = {item: SimpleQueue() for item in (1, 2, 3)}
    for item, outcome in told.items():
        committer.submit_soon(item, outcome.put)

    callers.release()

    assert ["result 1", "bad", "result 3"] == [str(outcome.get(timeout=PATIENCE)) for outcome in told.values()]


def test_close_waits_for_what_was_handed_over() -> None:
    ledger = Ledger(hold=True)
    committer = GroupCommitter(ledger.write)
    told: SimpleQueue[str | BaseException] = SimpleQueue()
    committer.submit_soon(1, told.put)
    assert ledger.entered.wait(PATIENCE)
    closing = threading.Thread(target=committer.close)
    closing.start()
    while not committer._closed:
        closing.join(0.001)

    ledger.released.set()
    closing.join(PATIENCE)

    assert "result 1" == told.get_nowait()
    with pytest.raises(ClosedError):
        committer.submit_soon(2, told.put)


def test_nothing_is_taken_after_close() -> None:
    committer = GroupCommitter(Ledger().write)
    committer.close()

    with pytest.raises(ClosedError):
        committer.submit(1)


def test_close_may_be_said_twice() -> None:
    committer = GroupCommitter(Ledger().write)

    committer.close()
    committer.close()


def test_close_waits_for_what_was_submitted_before() -> None:
    # Given one write under way and two callers waiting
    ledger = Ledger(hold=True)
    committer = GroupCommitter(ledger.write)
    callers = Callers(committer, ledger)
    futures = callers.submit(1, 2)

    # When it is closed
    closing = threading.Thread(target=committer.close)
    closing.start()
    callers.release()
    closing.join(PATIENCE)

    # Then it returns only after all are written
    assert [[0], [1, 2]] == ledger.groups
    assert ["result 1", "result 2"] == outcomes(futures)


def test_without_another_thread_the_writer_serves_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(hold=True)
    callers = Callers(GroupCommitter(ledger.write), ledger)
    futures = callers.submit(1, 2)

    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    callers.release()

    assert ["result 1", "result 2"] == outcomes(futures)


def test_every_one_of_many_callers_gets_its_own_result() -> None:
    """Sixteen threads start together and submit a hundred items each; nothing is lost, doubled or swapped."""
    ledger = Ledger()
    committer = GroupCommitter(ledger.write, max_items=8)
    start = threading.Barrier(16)

    def work(caller: int) -> list[str]:
        start.wait(PATIENCE)
        return [committer.submit(caller * 1_000 + turn) for turn in range(100)]

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(work, range(16)))
    committer.close()

    assert [[f"result {caller * 1_000 + turn}" for turn in range(100)] for caller in range(16)] == results
    written = [item for group in ledger.groups for item in group]
    assert sorted(written) == sorted(caller * 1_000 + turn for caller in range(16) for turn in range(100))
    assert 8 >= max(map(len, ledger.groups))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_starts_afresh_while_a_write_of_its_parent_is_under_way() -> None:
    # Given a parent with a write under way, one caller waiting
    ledger = Ledger(hold=True)
    committer = GroupCommitter(ledger.write)
    callers = Callers(committer, ledger)
    futures = callers.submit(1)

    # When it forks
    status = in_child(lambda: child_writes(committer, ledger))

    # Then the child could write on its own, and the parent's callers get their results
    callers.release()
    assert (0, ["result 1"]) == (status, outcomes(futures))


def child_writes(committer: GroupCommitter[int, str], parents: Ledger) -> bool:
    committer._write = fresh = Ledger(hold=True).write
    ledger: Ledger = fresh.__self__  # type: ignore[attr-defined]
    callers = Callers(committer, ledger)
    futures = callers.submit(7, 8)
    callers.release()
    return outcomes(futures) == ["result 7", "result 8"] and ledger.groups == [[0], [7, 8]] and parents.groups == []


def in_child(check: Callable[[], bool]) -> int:
    """The exit status of a forked child: 0 if `check` held in it."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
