"""What the calls of parallel steps are sent."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from orchestrator.core.effect import Status
from orchestrator.core.message import Threw
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.branch import Branch
from orchestrator.engine.groups import Groups
from orchestrator.store.database import Database
from tests.engine.world import NOW, World, group


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_planned_steps_get_the_memo_as_it_was_when_they_were_planned_whatever_ended_since(world: World):
    width, before = 5, 3
    world.driver.answer = group(width, before)
    world.start()

    while world.run.status in (Status.QUEUED, Status.RUNNING):
        world.work()

    assert [0] * before + [before] * width == [it["data"] for it in json.loads(world.run.output)]


def test_a_repeated_call_of_a_planned_step_gets_the_same_memo(world: World):
    plain, failed = group(3, before=1), []

    def fails_once(call: Call) -> Answer:
        if call.target == "s0" and call.attempt == 0:
            failed.append(list(call.memo))
            return Answer(Threw(call.target, 0, "{}", retryable=True))
        return plain(call)

    world.driver.answer = fails_once
    world.start()
    world.work()
    world.work()
    retry = [hint.run_at for hint in world.heard.hints]
    world.clock.advance(max(retry) - world.clock.now())
    world.work()

    assert [["before0"]] == failed
    assert [0, 1, 1, 1] == [it["data"] for it in json.loads(world.run.output)]


def test_calls_of_one_group_share_what_a_driver_makes_of_their_memo(world: World):
    plain, shared = group(3, before=1), set()

    def remember(call: Call) -> Answer:
        if call.target is not None:
            shared.add(call.shared)
        return plain(call)

    world.driver.answer = remember
    world.start()
    while world.run.status in (Status.QUEUED, Status.RUNNING):
        world.work()

    assert (1, False) == (len(shared), None in shared)


def test_a_group_is_read_once_and_again_when_it_is_no_longer_fresh():
    groups, reads = Groups(), []

    def read(run_id: str, seconds: int) -> None:
        groups.branch(run_id, 3, NOW + timedelta(seconds=seconds), lambda: reads.append((run_id, seconds)))

    for seconds in (0, 4, 6, 7):
        read("a", seconds)
    read("b", 7)

    assert [("a", 0), ("a", 6), ("b", 7)] == reads


def test_groups_are_forgotten_when_they_are_many_or_large(world: World):
    world.start()
    branch = Branch.load(world.parts, world.run.id)
    assert branch is not None
    branch.state_size = 400
    groups, reads = Groups(most=3, most_bytes=1_000), []

    def read(run_id: str, found: Branch | None = None) -> None:
        groups.branch(run_id, 0, NOW, lambda: (reads.append(run_id), found)[1])

    for run_id in "abcdbcda":
        read(run_id)
    many, reads = reads, []
    for run_id in "xyzyzx":
        read(run_id, branch)

    assert (list("abcda"), list("xyzx")) == (many, reads)
