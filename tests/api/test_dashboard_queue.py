"""The page of the queue as requests see it: what it shows, what it does, and what it refuses."""

from __future__ import annotations

import re
import socket
import time
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from orchestrator.api.app import create_app
from orchestrator.api.dashboard.lists import ROWS
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.api.ready import Readiness
from orchestrator.engine.survey import FRESH
from orchestrator.ids import named_uuid
from orchestrator.queue.announce import Announcer, BrokerAnnouncer, Silence
from orchestrator.queue.broker import Broker
from orchestrator.store import audit, dead, jobs, losses, workers
from orchestrator.store.tables import pools
from orchestrator.store.workers import Sign
from tests.api.conftest import NOW
from tests.api.test_dashboard import House, refuse
from tests.api.test_jobs import dead_job

if TYPE_CHECKING:
    from tests.api.conftest import World

ROLES = ("viewer", "operator")


@pytest.fixture
def browser(world: World) -> FlaskClient:
    world.app(slugs=["shop-bill"])
    return create_app(world.parts, doors=Doors(login=False)).test_client()


def crowded(world: World) -> str:
    """A run with a job in hand, and a limit that is full."""
    run_id = world.run(world.event())
    with world.parts.database.write() as conn:
        job_id = jobs.add(conn, jobs.CALL, "a", NOW, run_id=run_id).job_id
        jobs.lease(conn, [job_id], "o", NOW, NOW + timedelta(seconds=30))
        workers.give(conn, Sign("o", "worker-1", 7, 100, "0.1", NOW, NOW))
        workers.give(conn, Sign("p", "worker-2", 8, 100, "0.1", NOW, NOW - timedelta(minutes=2)))
        pool = {"key": "11:x", "limit_id": "limit", "value": "<b>", "used": 2, "waiting": 1_003, "turn": ""}
        conn.execute(pools.insert(), [pool | {"function_id": named_uuid("function", "shop-bill")}])
    return run_id


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def seen(page: str) -> str:
    found = re.search(r"/queue/live\?seen=(\w+)", page)
    assert found
    return found[1]


def test_an_empty_queue_says_what_to_do_next(browser: FlaskClient) -> None:
    page = text_of(browser.get("/queue").text)

    assert "Up to date: no job that is due waits for a worker" in page
    assert "No worker runs, so nothing is done." in page
    assert "celery -A orchestrator worker" in page
    assert "Nothing was given up" in page


def test_it_tells_what_waits_and_why_who_works_on_what_and_who_vanished(browser: FlaskClient, world: World) -> None:
    run_id = crowded(world)

    page = browser.get("/queue").text

    told = text_of(page)
    assert "1 003 calls wait" in told
    assert 'href="/functions/shop-bill"' in page
    assert f'href="/runs/{run_id}"' in page
    assert "worker-1 process 7" in told
    assert ("Alive" in told, "Vanished" in told, "No worker runs" in told) == (True, True, False)
    assert "<b>" not in page


def test_an_open_page_gets_nothing_until_something_changes(browser: FlaskClient, world: World) -> None:
    first = browser.get("/queue").text
    unchanged = browser.get(f"/queue/live?seen={seen(first)}").status_code
    world.run(world.event())
    with world.parts.database.write() as conn:
        jobs.add(conn, jobs.MATCH, "match:1", NOW)
    world.clock.advance(FRESH)

    changed = browser.get(f"/queue/live?seen={seen(first)}")

    assert (204, 200) == (unchanged, changed.status_code)
    assert seen(first) != seen(changed.text)
    assert 204 == browser.get(f"/queue/live?seen={seen(changed.text)}").status_code


def test_a_database_that_does_not_answer_is_told_of_and_the_page_goes_on_asking(world: World) -> None:
    readiness = Readiness(world.parts)
    readiness._complaint = lambda: "the database does not answer as it should"  # type: ignore[method-assign]
    browser = create_app(world.parts, doors=Doors(login=False), readiness=readiness).test_client()

    page, live = browser.get("/queue"), browser.get("/queue/live")

    assert (503, 200) == (page.status_code, live.status_code)
    assert "The database does not answer as it should" in text_of(page.text)
    assert "data-every" in page.text
    assert 204 == browser.get(f"/queue/live?seen={seen(page.text)}").status_code


def with_broker(world: World, announcer: Announcer) -> str:
    parts = replace(world.parts, announcer=announcer)
    return text_of(create_app(parts, doors=Doors(login=False)).test_client().get("/queue").text)


def test_without_a_broker_it_says_what_that_means(world: World) -> None:
    page = with_broker(world, Silence())

    assert "Workers look into the database four times a second." in page
    assert "ORCHESTRATOR_BROKER_URL" in page


def test_a_broker_that_hangs_delays_the_page_by_no_more_than_its_patience_and_is_told_without_password(
    world: World,
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        page = with_broker(world, BrokerAnnouncer(Broker(f"amqp://ada:s3cret@127.0.0.1:{port}//")))
        took = time.monotonic() - began

    assert "The broker is away" in page
    assert "It does not answer within 1 s." in page
    assert f"127.0.0.1:{port}" in page
    assert "s3cret" not in page
    assert took < 5


def test_a_viewer_sees_what_was_given_up_and_has_nothing_to_press(world: World) -> None:
    dead_job(world, payload="[]")
    house = House(world, create_app(world.parts, authorize=refuse, doors=Doors(login=True)))

    seen = {role: [house.browser(role).get(path).text for path in ("/queue", "/queue/dead")] for role in ROLES}

    assert all("ValueError: poison" in page for pages in seen.values() for page in pages)
    assert {"viewer": False, "operator": True} == {
        role: any('data-opens="requeue-job"' in page or "/queue/dead/requeue" in page for page in pages)
        for role, pages in seen.items()
    }


def test_dead_jobs_are_listed_page_by_page_with_their_whole_reason(browser: FlaskClient, world: World) -> None:
    ids = [dead_job(world, payload="[]") for _ in range(ROWS + 2)]
    with world.parts.database.write() as conn:
        job_id = jobs.add(conn, jobs.WAKE, "w", NOW).job_id
        [lease] = jobs.lease(conn, [job_id], "w", NOW, NOW)
        losses.bury(conn, lease, "Error: <script>\nTraceback: at line 7")

    first = browser.get("/queue/dead").text
    older = re.search(r'href="(/queue/dead\?before=\d+)"', first)

    assert older
    assert f"{ROWS} of {ROWS + 3} jobs" in first
    assert "Traceback: at line 7" in first
    assert "<script>" not in first
    second = browser.get(older[1]).text
    assert [(True, False), (False, True)] == [
        (f'value="{it}"' in first, f'value="{it}"' in second) for it in (ids[-1], ids[0])
    ]


def test_those_that_are_chosen_are_requeued_and_it_is_told_and_noted(browser: FlaskClient, world: World) -> None:
    ids = [dead_job(world, payload="[]") for _ in range(3)]

    answer = browser.post("/queue/dead/requeue", data={"job": [*ids[:2], 10**15]})

    assert (303, "/queue/dead") == (answer.status_code, answer.headers["Location"])
    assert "Requeued 2 jobs; 1 was dead no more" in browser.get("/queue/dead").text
    with world.parts.database.read() as conn:
        assert ids[2:] == dead.oldest(conn, 10)
        assert ["job requeued"] == [action for action, _ in audit.actions_on(conn, str(ids[0]))]


def test_one_that_cannot_be_requeued_is_told_with_the_reason(browser: FlaskClient, world: World) -> None:
    job_id = dead_job(world, jobs.WAKE, run_id=world.run(world.event()))

    browser.post("/queue/dead/requeue", data={"job": job_id, "here": "/queue"})

    assert "Requeued 0 jobs; 1 could not be: run" in browser.get("/queue").text


def test_many_are_requeued_and_it_is_told_how_many_are_left(browser: FlaskClient, world: World) -> None:
    for _ in range(103):
        dead_job(world, payload="[]")

    browser.post("/queue/dead/requeue-oldest")

    assert "Requeued 100 jobs. 3 jobs left" in browser.get("/queue/dead").text


def test_one_is_deleted_and_that_is_told(browser: FlaskClient, world: World) -> None:
    job_id = dead_job(world)

    answer = browser.post("/queue/dead/delete", data={"job": job_id, "here": "/queue"})

    assert (303, "/queue") == (answer.status_code, answer.headers["Location"])
    assert f"Job {job_id} is deleted" in browser.get("/queue").text
    assert 404 == browser.post("/queue/dead/delete", data={"job": job_id}).status_code


@pytest.mark.parametrize(
    ("path", "data", "status"),
    [
        ("requeue", {}, 400),
        ("requeue", {"job": [str(it) for it in range(ROWS + 1)]}, 400),
        ("requeue", {"job": "x"}, 400),
        ("requeue", {"job": "٣"}, 400),
        ("delete", {"job": ""}, 400),
        ("delete", {"job": str(10**19 - 1)}, 404),
        ("delete", {"job": "-1"}, 400),
    ],
)
def test_what_is_no_job_is_refused(browser: FlaskClient, path: str, data: dict[str, object], status: int) -> None:
    assert status == browser.post(f"/queue/dead/{path}", data=data).status_code


def test_a_page_of_dead_jobs_begins_at_a_number(browser: FlaskClient) -> None:
    assert [400, 404, 200] == [browser.get(f"/queue/dead?before={it}").status_code for it in ("x", 10**19 - 1, 7)]


def test_where_to_go_back_to_is_a_page_of_ours(browser: FlaskClient, world: World) -> None:
    job_id = dead_job(world)

    answer = browser.post("/queue/dead/delete", data={"job": job_id, "here": "https://evil.example"})

    assert "/queue/dead" == answer.headers["Location"]
