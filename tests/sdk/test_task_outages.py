"""Rules of steps that Celery tasks do when the database goes away in the middle."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.engine import task as steps
from orchestrator.engine.recover import recover
from orchestrator.store import jobs
from tests.sdk.task_world import Make, TaskWorld, fn, make

__all__ = ["make"]


def gone(*_: object, **__: object) -> None:
    raise OSError("the database went away")


@pytest.mark.parametrize("name", ["_load", "enter"])
def test_a_claim_that_the_database_breaks_off_is_prolonged_no_more(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    world = make(fn)
    event = world.send("fn")
    world.settle()
    with monkeypatch.context() as broken:
        broken.setattr(steps, name, gone)
        with pytest.raises(OSError, match="away"):
            world.claim()

    lost(world)

    world.finish(world.claimed(), "second")
    assert "second" == world.output(event)


def test_a_task_that_could_not_be_given_back_is_prolonged_no_more(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make(fn)
    event = world.send("fn")
    world.settle()
    taken = world.claimed()
    with monkeypatch.context() as broken:
        broken.setattr(jobs, "rest", gone)
        with pytest.raises(OSError, match="away"):
            steps.give_back(world.parts, taken)

    lost(world)

    world.finish(world.claimed(), "second")
    assert "second" == world.output(event)


def lost(world: TaskWorld) -> None:
    """Let a minute pass as a worker does that lives, with its heartbeats and its looks at what ran out."""
    for _ in range(6):
        world.clock.advance(timedelta(seconds=10))
        world.parts.holdings.beat(world.now)
        recover(world.parts)
    world.settle()
