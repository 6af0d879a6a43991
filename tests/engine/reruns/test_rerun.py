"""Reruns: what starts them, what they take over, and what may be changed on the way."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest

from orchestrator.core.message import Asked, Returned, SleepAsked, StepDone, Threw
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.rerun import FromStep, rerun
from orchestrator.errors import ConflictError, NotFoundError, RequestError
from orchestrator.store import reruns, runs, steps, tables
from orchestrator.store.database import Database
from tests.engine.reruns.again import all_runs, chain, go, in_js, made, outputs, parallel_then, run_of, story, work
from tests.engine.world import MINUTE, NOW, World, returned, sleeps, waits


@pytest.mark.parametrize("ended", ["completed", "failed", "cancelled", "running"])
def test_a_run_is_run_again_from_its_event_whatever_became_of_it(database: Database, ended: str):
    world = made(database, '"retries":0', first=False)
    answers = {
        "completed": returned,
        "failed": lambda call: Answer(Threw(None, call.attempt, '{"message":"no"}', retryable=False)),
        "cancelled": sleeps,
        "running": sleeps,
    }
    world.driver.answer = answers[ended]
    go(world)
    first = world.run
    if ended == "cancelled":
        from orchestrator.engine.cancel import cancel

        cancel(world.parts, first.id, "by hand")
    world.driver.answer = lambda call: Answer(Returned(None, 0, call.events[0]))

    again = rerun(world.parts, first.id)
    work(world)

    second = run_of(world, again)
    assert (ended, "completed") == (run_of(world, first.id).status.value, second.status.value)
    assert (first.event_id, first.id) == (second.event_id, second.original_run_id)
    assert "a/b" == orjson.loads(second.output or "")["name"]


def test_both_stories_tell_of_it_and_so_does_the_list_of_reruns(world: World):
    first = world.run

    again = [rerun(world.parts, first.id), rerun(world.parts, first.id)]

    assert [("rerun as", {"run": again[0]}), ("rerun as", {"run": again[1]})] == story(world, first.id)
    assert [("rerun of", {"run": first.id})] == story(world, again[0])
    with world.parts.database.read() as conn:
        assert again[::-1] == reruns.of(conn, first.id)


def test_the_event_still_starts_the_function_only_once(world: World):
    first = world.run
    rerun(world.parts, first.id)
    work(world)

    with world.parts.database.write() as conn:
        new = runs.NewRun("0" * 25 + "1", first.function_id, 1, first.event_id, first.event_name, first.status, NOW)
        runs.add(conn, [new])

    assert 2 == len(all_runs(world))


def test_the_end_of_a_rerun_is_told_like_any(world: World):
    again = rerun(world.parts, world.run.id)
    work(world)

    with world.parts.database.read() as conn:
        told = tables.events.select().where(tables.events.c.name == "inngest/function.finished")
        ended = [orjson.loads(row.payload)["data"]["run_id"] for row in conn.execute(told)]
    assert Counter([world_run.id for world_run in all_runs(world)]) == Counter(ended)
    assert again in ended


def test_from_a_step_what_came_before_is_taken_over_and_the_rest_is_done_again(database: Database):
    world = made(database, first=False)
    world.driver.answer = chain("a", "b", "c")
    go(world)
    first = world.run

    again = rerun(world.parts, first.id, FromStep("b"))
    work(world)

    assert {"a": first.id, "b": again, "c": again} == outputs(world, again)
    kept = {"run": first.id, "from_step": "b", "steps_kept": 1, "input": False}
    assert ("rerun of", kept) == story(world, again)[0]
    with world.parts.database.read() as conn:
        assert [("a", 1), ("b", 2), ("c", 3)] == [(step.id, step.seq) for step in steps.of_run(conn, again)]


def test_a_rerun_of_a_rerun_takes_over_what_that_took_over(database: Database):
    world = made(database, first=False)
    world.driver.answer = chain("a", "b", "c")
    go(world)
    first = world.run
    second = rerun(world.parts, first.id, FromStep("b"))
    work(world)

    third = rerun(world.parts, second, FromStep("c"))
    work(world)

    assert {"a": first.id, "b": second, "c": third} == outputs(world, third)


def test_of_parallel_steps_those_that_were_not_over_when_the_step_began_are_done_again(database: Database):
    world = made(database, first=False)
    world.driver.answer = parallel_then("z")
    go(world)
    first = world.run
    with world.parts.database.read() as conn:
        order = [step.id for step in steps.of_run(conn, first.id)]
    assert ["y", "x", "z"] == order

    from_x = rerun(world.parts, first.id, FromStep("x"))
    from_z = rerun(world.parts, first.id, FromStep("z"))
    work(world)

    assert {"x": from_x, "y": from_x, "z": from_x} == outputs(world, from_x)
    assert {"x": first.id, "y": first.id, "z": from_z} == outputs(world, from_z)


def test_a_step_that_failed_or_is_still_awaited_can_be_gone_back_to(database: Database):
    world = made(database, first=False)
    world.driver.answer = waits
    go(world)
    first = world.run
    world.driver.answer = lambda call: Answer(Returned(None, 0, str(len(call.memo))))

    again = rerun(world.parts, first.id, FromStep("w"))
    work(world)

    assert ("running", "0") == (run_of(world, first.id).status.value, run_of(world, again).output)


def test_a_step_is_found_by_its_name_where_only_one_has_it(database: Database):
    world = made(database, first=False)

    def twice(call: Call) -> Answer:
        left = [it for it in ("one", "two", "three") if it not in call.memo]
        if not left:
            return returned(call)
        name = {"one": "same", "two": "same", "three": "other"}[left[0]]
        return Answer(Asked(None, 0, (StepDone(left[0], name, "StepRun", "1"),)))

    world.driver.answer = twice
    go(world)
    first = world.run

    again = rerun(world.parts, first.id, FromStep("other"))
    with pytest.raises(ConflictError, match="has several steps same; name one by its id: one, two"):
        rerun(world.parts, first.id, FromStep("same"))
    with pytest.raises(NotFoundError, match="has no step none"):
        rerun(world.parts, first.id, FromStep("none"))

    with world.parts.database.read() as conn:
        assert ["one", "two"] == [step.id for step in steps.of_run(conn, again)]
    assert 2 == len(all_runs(world))


def test_another_input_goes_with_the_calls_until_the_step_has_its_outcome(database: Database):
    world = made(database, first=False)
    in_js(world)
    world.driver.answer = chain("a", "b", "c")
    go(world)
    first, calls = world.run, []

    def heard(call: Call) -> Answer:
        calls.append((list(call.memo), dict(call.inputs)))
        answer: Answer = chain("a", "b", "c")(call)  # type: ignore[operator]
        return answer

    world.driver.answer = heard
    rerun(world.parts, first.id, FromStep("b", '[{"n":2}]'))
    work(world)

    assert [(["a"], {"b": '[{"n":2}]'}), (["a", "b"], {}), (["a", "b", "c"], {})] == calls


def test_an_input_is_refused_where_it_could_not_be_taken(database: Database):
    world = made(database, first=False)

    def naps(call: Call) -> Answer:
        if "a" in call.memo:
            return Answer(Asked(None, 0, (SleepAsked("nap", "nap", "Sleep", NOW + MINUTE),)))
        answer: Answer = chain("a")(call)  # type: ignore[operator]
        return answer

    world.driver.answer = naps
    go(world)
    first = world.run

    with pytest.raises(ConflictError, match=r"the app's SDK \(py\) has no way to give a step another input"):
        rerun(world.parts, first.id, FromStep("a", "[1]"))
    in_js(world)
    with pytest.raises(ConflictError, match="step nap is a Sleep, which has no input"):
        rerun(world.parts, first.id, FromStep("nap", "[1]"))
    for text in ("{", '{"n":1}', "7"):
        with pytest.raises(RequestError, match="array of the step's arguments"):
            rerun(world.parts, first.id, FromStep("a", text))
    with pytest.raises(RequestError, match="at most 4194304 bytes"):
        rerun(world.parts, first.id, FromStep("a", f'["{"x" * 5_000_000}"]'))
    assert [first] == all_runs(world)
