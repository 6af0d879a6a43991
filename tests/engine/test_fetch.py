"""Requests for apps as jobs: what happens to them when workers die, runs end, and we fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestrator.core.effect import Status, StepStatus
from orchestrator.core.message import Asked, FetchAsked, Returned
from orchestrator.drivers.base import Answer, Call, Response
from orchestrator.engine.cancel import cancel
from orchestrator.errors import TransportError
from orchestrator.protocol import gateway
from orchestrator.store import steps
from orchestrator.store.database import Database
from orchestrator.store.tables import jobs
from tests.engine.world import World

SECRET = "sk-secret"
REQUEST = gateway.text_of(gateway.Asked("Gateway", "http://there/", "GET", {"authorization": SECRET}, ""))
OK = Response(200, {}, b"text")


@dataclass
class There:
    """What answers the requests; the test writes how."""

    answer: Callable[[], Response] = lambda: OK
    urls: list[str] = field(default_factory=list)

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes = b"", timeout: timedelta
    ) -> Response:
        self.urls.append(url)
        return self.answer()


@pytest.fixture
def there() -> There:
    return There()


@pytest.fixture
def world(database: Database, there: There) -> World:
    made = World(database)
    made.parts = replace(made.parts, http=there)
    made.driver.answer = app
    return made


def app(call: Call) -> Answer:
    """Asks for one request, and returns what came of it."""
    if "f" in call.memo:
        return Answer(Returned(call.target, call.attempt, call.memo["f"]))
    return Answer(Asked(call.target, call.attempt, (FetchAsked("f", "F", "Gateway", REQUEST),)))


def begun(world: World) -> None:
    """Let the app ask for the request, and no more."""
    world.start()
    world.work()


def kinds(world: World) -> list[str]:
    with world.parts.database.read() as conn:
        return list(conn.execute(select(jobs.c.kind).where(jobs.c.run_id == world.run.id)).scalars())


def test_a_request_is_a_job_of_its_own_and_its_answer_leads_on_at_once(world: World, there: There):
    begun(world)
    before = (kinds(world), there.urls.copy())

    world.work()

    assert (["gateway"], []) == before
    assert ["http://there/"] == there.urls
    assert (Status.COMPLETED, 200) == (world.run.status, json.loads(world.run.output or "")["data"]["status_code"])


def test_a_request_whose_worker_dies_is_made_again_and_that_is_no_attempt(world: World, there: There):
    begun(world)

    world.die()
    world.work()

    with world.parts.database.read() as conn:
        [step] = steps.of_run(conn, world.run.id)
    assert (Status.COMPLETED, 1) == (world.run.status, step.attempts)


def test_an_answer_that_comes_after_the_lease_was_lost_is_not_taken(world: World, there: There):
    begun(world)
    heard = world.heard.take()

    def slow() -> Response:
        world.clock.advance(timedelta(seconds=31))
        there.answer = lambda: Response(200, {}, b"second")
        world.heard.take()
        world.recover()
        world.work()
        return Response(200, {}, b"first")

    there.answer = slow
    world.work_on(heard)

    assert "second" == json.loads(world.run.output or "")["data"]["body"]
    assert 2 == len(there.urls)


def test_a_failed_request_is_made_again_after_the_back_off_and_then_is_an_error_of_the_step(world: World, there: There):
    def fail() -> Response:
        raise TransportError("nobody there")

    there.answer = fail
    begun(world)
    for _ in range(5):
        world.work()
        world.clock.advance(timedelta(minutes=6))

    with world.parts.database.read() as conn:
        [step] = steps.of_run(conn, world.run.id)
    assert (5, StepStatus.FAILED, 5) == (len(there.urls), step.status, step.attempts)
    assert {"name": "GatewayError", "message": "nobody there"} == json.loads(world.run.output or "")["error"]


def test_no_request_is_made_for_a_run_that_is_over(world: World, there: There):
    begun(world)

    cancel(world.parts, world.run.id, "enough")
    world.work()

    assert ([], [], Status.CANCELLED) == (there.urls, kinds(world), world.run.status)


def test_a_request_that_keeps_killing_its_workers_ends_the_run_and_leaves_no_secret(world: World, there: There):
    begun(world)

    for _ in range(5):
        world.die()

    with world.parts.database.read() as conn:
        rows = conn.execute(select(jobs)).mappings().all()
    assert (Status.FAILED, ["gateway"]) == (world.run.status, [row["kind"] for row in rows])
    assert SECRET not in str([dict(row) for row in rows])


def test_nothing_of_a_request_is_left_when_it_is_done(world: World, there: There):
    begun(world)
    with world.parts.database.read() as conn:
        assert SECRET in str(conn.execute(select(jobs.c.payload)).scalars().all())

    world.work()

    with world.parts.database.read() as conn:
        left = [str(conn.execute(table.select()).all()) for table in jobs.metadata.sorted_tables]
    assert [False] * len(left) == [SECRET in text for text in left]
