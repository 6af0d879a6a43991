"""Celery tasks that are steps of a function with a limit on concurrency: they count like its calls."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestrator.engine import task as steps
from orchestrator.engine.cancel import cancel
from orchestrator.engine.recover import recover
from orchestrator.sdk.function import Registry
from orchestrator.sdk.options import Options
from orchestrator.sdk.triggers import Event
from orchestrator.store.database import Database
from orchestrator.store.tables import pools
from tests.sdk.task_world import TaskWorld, fn


class Hall(TaskWorld):
    """A world with one slot, and two runs that want it."""

    def __init__(self, database: Database) -> None:
        registry = Registry("shop")
        registry.add(fn, Event("fn"), options=Options(concurrency=1))
        super().__init__(database, registry)
        self.first = self.send("fn")
        self.settle()
        self.second = self.send("fn")
        self.settle()

    def level(self) -> tuple[int, int]:
        """What is taken, and who waits."""
        with self.parts.database.read() as conn:
            [row] = conn.execute(select(pools)).all()
        return row.used, row.waiting

    def statuses(self) -> list[str]:
        return [self.run(event).status.value for event in (self.first, self.second)]


@pytest.fixture
def hall(database: Database) -> Hall:
    return Hall(database)


def test_a_task_holds_a_slot_from_its_message_to_its_result(hall: Hall) -> None:
    sent = len(hall.sent.messages), hall.level()
    taken = hall.claimed()
    running = hall.level()

    hall.finish(taken, "first")
    then = len(hall.sent.messages)
    hall.finish(hall.claimed(), "second")

    assert ((1, (1, 1)), (1, 1), 2) == (sent, running, then)
    assert ["first", "second"] == [hall.output(hall.first), hall.output(hall.second)]
    assert (0, 0) == hall.level()


def test_a_task_of_a_cancelled_run_keeps_its_slot_until_it_is_through(hall: Hall) -> None:
    taken = hall.claimed()

    cancel(hall.parts, hall.run(hall.first).id, "why not")
    hall.settle()
    cancelled = hall.level(), hall.statuses()
    hall.finish(taken, "too late")

    assert ((1, 1), ["cancelled", "queued"]) == cancelled
    assert 2 == len(hall.sent.messages), "the other one has the slot now"


def test_a_message_of_a_cancelled_run_that_nobody_took_keeps_none(hall: Hall) -> None:
    cancel(hall.parts, hall.run(hall.first).id, "why not")
    hall.settle()

    assert 2 == len(hall.sent.messages)
    assert hall.claim(at=0) is None


def test_a_task_that_celery_tries_again_later_holds_no_slot_until_then_and_waits_for_one(hall: Hall) -> None:
    steps.give_back(hall.parts, hall.claimed(), hall.now + timedelta(minutes=5))
    hall.settle()
    others = hall.claimed(at=1)

    too_early = hall.claim(at=0)
    waiting = hall.level()
    hall.finish(others, "second")

    assert (None, (1, 1)) == (too_early, waiting)
    hall.finish(hall.claimed(), "first")
    hall.settle()
    assert ["completed", "completed"] == hall.statuses()
    assert (0, 0) == hall.level()


def test_a_broker_that_is_away_holds_no_slot(hall: Hall) -> None:
    hall.finish(hall.claimed(), "first")
    hall.sent.error = ConnectionError("refused")
    hall.finish(hall.claimed(), "second")
    third = hall.send("fn")
    hall.settle()

    level = hall.level()
    hall.sent.error = None
    hall.skip(timedelta(seconds=5))

    assert (0, 0) == level
    hall.finish(hall.claimed(), "third")
    assert "third" == hall.output(third)


def test_a_killed_workers_task_is_sent_anew_with_the_slot_it_had(hall: Hall) -> None:
    hall.claimed()

    hall.clock.advance(timedelta(seconds=31))
    recover(hall.parts)
    hall.settle()
    anew = len(hall.sent.messages), hall.level()
    hall.finish(hall.claimed(), "first")

    assert (2, (1, 1)) == anew
    assert 3 == len(hall.sent.messages)
