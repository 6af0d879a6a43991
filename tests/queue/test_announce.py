"""Hints over a broker: which queue they go to, and that they come out as they went in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import kombu

from orchestrator.queue.announce import BrokerAnnouncer, read_hints
from orchestrator.queue.broker import EXECUTOR_QUEUE, NOWHERE, RUNNER_QUEUE
from orchestrator.store import jobs
from orchestrator.store.jobs import Hint
from tests.wire.harness import until

NOW = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=7)


def received(name: str) -> list[Hint]:
    """What a queue holds."""
    found = list[Hint]()
    with kombu.Connection("memory://") as connection:
        bound = NOWHERE.queue(name)(connection.channel())
        bound.declare()
        while (message := bound.get(no_ack=True)) is not None:
            [hints], _, _ = message.decode()
            found += read_hints(hints)
    return found


def test_what_has_priority_goes_by_the_queue_that_is_never_long() -> None:
    plain, urgent, patient = (Hint(at, jobs.CALL, NOW, priority=it) for at, it in enumerate((0, 300, -300)))
    match = Hint(9, jobs.MATCH, NOW)
    runner, executor = list[Hint](), list[Hint]()

    BrokerAnnouncer(NOWHERE).announce([plain, urgent, patient, match])

    def all_there() -> bool:
        runner.extend(received(RUNNER_QUEUE))
        executor.extend(received(EXECUTOR_QUEUE))
        return len(runner) + len(executor) == 4

    until(all_there, "the hints")
    assert ([urgent, match], [plain, patient]) == (runner, executor)
