"""The pages of orders to many runs: counted first, given with a rate, followed, and stopped."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from orchestrator.api.app import create_app
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.core.effect import Status
from orchestrator.store import orders
from orchestrator.store.jobs import DEAD
from orchestrator.store.tables import jobs, runs

if TYPE_CHECKING:
    from tests.api.conftest import World

MEANT = "function=shop-bill&status=running"


@pytest.fixture
def browser(world: World) -> FlaskClient:
    world.app(slugs=["shop-bill"])
    for _ in range(3):
        world.run(world.event())
    # An order is about the runs of before it.
    world.clock.advance(timedelta(seconds=1))
    return create_app(world.parts, doors=Doors(login=False)).test_client()


def given(browser: FlaskClient, **form: str) -> str:
    """Give an order; its path."""
    answer = browser.post(f"/runs/bulk?{MEANT}", data={"kind": "cancel"} | form)
    assert 303 == answer.status_code, answer.text
    return answer.headers["Location"]


def polled(browser: FlaskClient, order: str) -> str:
    """Where the order's page asks whether anything changed."""
    found = re.search(r'hx-get="([^"]+)"', browser.get(order).text)
    assert found
    return found[1]


def test_looking_at_it_counts_and_does_nothing(browser: FlaskClient, world: World) -> None:
    page = browser.get(f"/runs/bulk?{MEANT}").text

    assert "Cancel: 3" in page
    with world.parts.database.read() as conn:
        assert [] == orders.page(conn, limit=10)


def test_what_is_ordered_is_what_was_counted_however_long_one_thinks_it_over(
    browser: FlaskClient, world: World
) -> None:
    found = re.search(r'action="(/runs/bulk[^"]+)"', browser.get(f"/runs/bulk?{MEANT}&span=1h").text)
    assert found
    world.clock.advance(timedelta(hours=2))
    late = world.run(world.event())
    with world.parts.database.write() as conn:
        conn.execute(update(runs).where(runs.c.id == late).values(queued_at=world.clock.now() - timedelta(minutes=1)))

    browser.post(unescape(found[1]), data={"kind": "cancel"})

    with world.parts.database.read() as conn:
        [order] = orders.page(conn, limit=10)
        assert 3 == order.total


def test_an_order_keeps_to_the_rate_of_the_form(browser: FlaskClient, world: World) -> None:
    slow, fast = given(browser, rate="7"), given(browser, rate="")

    assert "at most 7 a second" in browser.get(slow).text
    assert "a second" not in browser.get(fast).text


@pytest.mark.parametrize("rate", ["0", "-1", "1.5", "many", "10001", "9" * 30, "٣"])
def test_a_rate_that_is_none_is_refused(browser: FlaskClient, world: World, rate: str) -> None:
    answer = browser.post(f"/runs/bulk?{MEANT}", data={"kind": "cancel", "rate": rate})

    assert (400, True) == (answer.status_code, "Rate must be a whole number from 1 to 10000" in answer.text)


def test_an_order_is_asked_after_until_it_is_stopped(browser: FlaskClient, world: World) -> None:
    order = given(browser)
    poll = polled(browser, order)

    before = browser.get(poll).status_code
    browser.post(f"{order}/stop")
    after = browser.get(poll)

    assert (204, 200) == (before, after.status_code)
    assert "Stopped" in after.text
    assert "data-every" not in after.text


def test_an_order_whose_job_was_given_up_is_not_asked_after_for_ever(browser: FlaskClient, world: World) -> None:
    order = given(browser)
    poll = polled(browser, order)

    with world.parts.database.write() as conn:
        conn.execute(update(jobs).values(state=DEAD))
    after = browser.get(poll)

    assert "given up" in after.text
    assert "data-every" not in after.text


def test_what_was_not_chosen_stays(browser: FlaskClient, world: World) -> None:
    done = world.finished(world.event(), Status.COMPLETED, "1")

    assert "cannot be cancelled" in browser.get("/runs/bulk?status=completed").text
    assert done in browser.get("/runs?status=completed").text
