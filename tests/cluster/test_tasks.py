"""A team's own Celery tasks as steps, on its own workers, on PostgreSQL and each broker; there is no result backend."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cluster.shop import Shop

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]


@pytest.fixture(params=["rabbitmq", "redis"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    with Shop.made(request.param, tmp_path) as made:
        yield made


def test_a_task_is_retried_fails_and_answers_as_it_always_did_and_the_step_has_what_came_of_it(shop: Shop) -> None:
    shop.worker("one")

    made = shop.send("resize", url="a.png")
    flaky = shop.send("do", task="flaky", args=[2])
    tired = shop.send("do", task="flaky", args=[9])
    hasty = shop.send("do", task="hasty")
    quiet = shop.send("do", task="quiet")
    broken = shop.send("do", task="broken", args=["no such image"])
    album = shop.send("album")

    assert [{"cents": 250}, "a.png at 0.5"] == shop.output(made)
    assert 2 == shop.output(flaky)
    assert {"name": "OSError", "message": "not yet", "traced": False} == shop.output(tired)
    assert 3 == shop.output(hasty, seconds=20)
    assert "heard all the same" == shop.output(quiet)
    assert {"name": "LookupError", "message": "no such image", "traced": True} == shop.output(broken)
    assert [f"{at} at 1.0" for at in range(5)] == shop.output(album)
    assert 6 == len(shop.journal("resize"))
    assert 4 == len(shop.journal("hasty"))


def test_a_worker_killed_in_mid_task_loses_nothing(shop: Shop) -> None:
    shop.worker("one")
    event = shop.send("do", task="slow")
    shop.noted("slow")

    shop.kill("one")
    shop.worker("two")

    shop.noted("slow", times=2)
    shop.open_gate()
    assert "slept" == shop.output(event)
    assert 2 == len(shop.journal("slow"))


def test_a_child_of_prefork_killed_in_mid_task_loses_nothing(shop: Shop) -> None:
    shop.worker("one", pool="prefork")
    event = shop.send("do", task="slow")
    shop.noted("slow")

    os.kill(int(shop.journal("slow")[0].split()[1]), signal.SIGKILL)

    shop.noted("slow", times=2)
    shop.open_gate()
    assert "slept" == shop.output(event)
    assert 2 == len(shop.journal("slow"))


def test_messages_wiped_from_the_broker_are_sent_anew(shop: Shop) -> None:
    shop.worker("one", queues="shop.tasks")
    event = shop.send("do", task="slow")
    shop.open_gate()
    shop.wiped("shop.slow")

    shop.skip(timedelta(seconds=61))
    shop.worker("two", queues="shop.slow")

    assert "slept" == shop.output(event)
    assert 1 == len(shop.journal("slow"))


def test_term_in_mid_task_waits_for_the_task_as_celery_does_and_its_result_counts(shop: Shop) -> None:
    shop.worker("one")
    shop.worker("two", queues="shop.tasks")
    event = shop.send("do", task="slow")
    shop.noted("slow")

    shop.processes["one"].terminate()
    shop.open_gate()

    shop.processes.pop("one").wait(60)
    assert "slept" == shop.output(event)
    assert 1 == len(shop.journal("slow"))
