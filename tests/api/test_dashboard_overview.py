"""The overview as requests see it: numbers, failures that are alike, the way to their runs, and a first day."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from orchestrator.api.app import create_app
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.core.effect import Status
from orchestrator.engine.tally import recount
from orchestrator.store import orders

if TYPE_CHECKING:
    from tests.api.conftest import World


@pytest.fixture
def browser(world: World) -> FlaskClient:
    return create_app(world.parts, doors=Doors(login=False)).test_client()


def failing(world: World, *messages: str, name: str = "OrderError") -> list[str]:
    made = []
    for message in messages:
        error = json.dumps({"name": name, "message": message, "stack": f"{name}: {message}\n  at pay"})
        made.append(world.finished(world.event(), Status.FAILED, error=error))
    return made


def counted(world: World) -> None:
    world.clock.advance(timedelta(minutes=2))
    recount(world.parts.database, world.clock.now())


def links(page: str, label: str) -> list[str]:
    return [
        unescape(it) for it in re.findall(rf'<a class="button tiny" href="([^"]+)">(?:<svg.*?</svg>)?{label}', page)
    ]


def test_the_first_page_is_the_overview(browser: FlaskClient) -> None:
    answer = browser.get("/")

    assert (303, "/overview") == (answer.status_code, answer.headers["Location"])
    assert 'href="/overview"' in browser.get("/runs").text


def test_a_fresh_server_says_what_to_do_next(browser: FlaskClient, world: World) -> None:
    without_apps = browser.get("/overview").text
    world.app(slugs=["shop-bill"])
    without_runs = browser.get("/overview").text
    world.run(world.event())
    with_a_run = browser.get("/overview").text

    assert "orchestrator sync http://" in without_apps
    assert "orchestrator send shop/sold" in without_runs
    assert "orchestrator send" not in with_a_run
    assert "still being counted" not in with_a_run


def test_where_no_worker_counts_that_is_told(browser: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    world.run(world.event())
    world.clock.advance(timedelta(minutes=30))

    assert "still being counted" in browser.get("/overview").text


def test_failures_that_are_alike_lead_to_exactly_their_runs(browser: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    alike = failing(world, "order 1 is gone", "order 2 is gone")
    failing(world, "no money")
    world.finished(world.event(), Status.COMPLETED, "1")
    counted(world)

    page = browser.get("/overview?span=1h").text
    listed, order = links(page, "Its runs")[0], links(page, "Run these again")[0]

    assert sorted(alike) == sorted(re.findall(r'<tr id="run-(\w+)"', browser.get(listed).text))
    assert "2 of 2 runs" in browser.get(listed).text
    assert "Run again: 2" in browser.get(order).text
    assert 2 == page.count("Run these again")


def test_an_order_of_a_group_is_about_it_alone(browser: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    failing(world, "order 1 is gone", "no money", "order 2 is gone")
    counted(world)
    path = links(browser.get("/overview").text, "Run these again")[0]

    answer = browser.post(path, data={"kind": "rerun"}, headers={"Sec-Fetch-Site": "same-origin"})

    with world.parts.database.read() as conn:
        [order] = orders.page(conn, limit=5)
    assert 303 == answer.status_code
    assert 2 == order.total
    assert order.wanted.failure is not None
    assert world.clock.now() == order.wanted.until


def test_a_page_that_is_open_is_sent_again_only_when_something_happened(browser: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    failing(world, "order 1 is gone")
    counted(world)
    [poll] = [unescape(it) for it in re.findall(r'hx-get="([^"]+)"', browser.get("/overview").text)]

    first = browser.get(poll)
    world.clock.advance(timedelta(seconds=-100))
    failing(world, "no money")
    world.clock.advance(timedelta(seconds=100))
    second = browser.get(poll)

    assert (204, 200) == (first.status_code, second.status_code)
    assert "no money" in second.text
    assert "<html" not in second.text


def test_an_error_is_shown_as_it_was_written(browser: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    failing(world, "<script>alert(1)</script>", name="<b>Error</b>")
    world.finished(world.event(), Status.FAILED, error="no JSON & <i>more</i>")
    world.finished(world.event(), Status.FAILED, error='{"message":{"a":[1]}}')
    counted(world)

    page = browser.get("/overview").text

    assert "<script>alert" not in page
    assert "&lt;b&gt;Error&lt;/b&gt;" in page
    assert "no JSON &amp; &lt;i&gt;more&lt;/i&gt;" in page


def test_a_function_that_is_gone_still_tells_what_failed(browser: FlaskClient, world: World) -> None:
    failing(world, "order 1 is gone")
    counted(world)

    page = browser.get("/overview").text

    assert "a function that is gone" in page
    assert "order 1 is gone" in page
    assert "Run these again" not in page


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/overview?span=1y", "span must be one of 1h, 24h, 7d, 30d"),
        ("/overview/live?span=%00", "span must not have a zero byte"),
        ("/runs?failure=x", "failure must be a fingerprint"),
        ("/runs?by=night", "by must be one of queued, started, ended"),
        ("/runs/bulk?failure=%3Cb%3E", "failure must be a fingerprint"),
    ],
)
def test_what_cannot_be_asked_for_is_told(browser: FlaskClient, path: str, said: str) -> None:
    answer = browser.get(path)

    assert (400, True) == (answer.status_code, said.lower() in answer.text.lower())


@pytest.mark.parametrize("name", ["uplot.js", "uplot.css", "overview.css", "charts.js", "LICENSE-uplot.txt"])
def test_what_charts_need_is_served_here(browser: FlaskClient, name: str) -> None:
    from orchestrator.api.dashboard.assets import asset_url

    assert 200 == browser.get(asset_url(name)).status_code
