"""The pages of events as requests see them."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from orchestrator.api.app import create_app
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.core.effect import Status
from orchestrator.store import audit, events

if TYPE_CHECKING:
    from tests.api.conftest import World

ID = "01J00000000000000000000000"


@pytest.fixture
def browser(world: World) -> FlaskClient:
    return create_app(world.parts, doors=Doors(login=False)).test_client()


def shown(browser: FlaskClient, query: str = "") -> list[str]:
    answer = browser.get(f"/events{query}")
    assert 200 == answer.status_code, answer.text
    return re.findall(r'<tr id="event-(\w+)"', answer.text)


def test_the_stream_shows_what_the_address_asks_for(browser: FlaskClient, world: World) -> None:
    first, second = world.event(data='{"n":1}'), world.event("shop/left", '{"n":2}')
    own = world.event("inngest/function.finished")

    assert [second.id, first.id] == shown(browser)
    assert [own.id, second.id, first.id] == shown(browser, "?internal=1")
    assert [second.id] == shown(browser, "?name=shop/left")
    assert [first.id] == shown(browser, "?q=event.data.n%20%3D%3D%201")
    assert [] == shown(browser, "?from=2030-01-01")


def test_a_stream_that_did_not_change_is_not_sent_again(browser: FlaskClient, world: World) -> None:
    world.event()
    found = re.search(r'hx-get="([^"]+)"', browser.get("/events").text)
    assert found
    poll = found[1].replace("&amp;", "&")

    before = browser.get(poll).status_code
    world.event()

    assert (204, 200) == (before, browser.get(poll).status_code)


def test_an_event_is_sent_as_its_sender_wrote_it_and_that_is_noted(browser: FlaskClient, world: World) -> None:
    answer = browser.post("/events/send", data={"name": "shop/sold", "data": '{"n": 9007199254740993}'})

    event_id = answer.headers["Location"].removeprefix("/events/")
    with world.parts.database.read() as conn:
        event = events.get(conn, event_id)
        noted = audit.actions_on(conn, event_id)
    assert event is not None
    assert "9007199254740993" in event.payload
    assert ["event sent"] == [action for action, _ in noted]


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"name": ""},
        {"name": "x" * 5_000},
        {"name": "a/b", "data": "{"},
        {"name": "a/b", "data": "[1]"},
        {"name": "a/b", "data": "1}, {"},
        {"name": "a/b", "data": '{"a": "' + "x" * 600_000 + '"}'},
    ],
)
def test_an_event_that_cannot_be_is_refused(browser: FlaskClient, form: dict[str, str]) -> None:
    assert browser.post("/events/send", data=form).status_code in (400, 413)


@pytest.mark.parametrize("path", [f"/events/{ID}", f"/events/{ID}/raw", "/events?q=event.", "/events?after=x"])
def test_what_is_not_there_or_cannot_be_asked_for_is_told(browser: FlaskClient, path: str) -> None:
    assert browser.get(path).status_code in (400, 404)


def test_an_event_is_asked_after_while_something_may_come_of_it(browser: FlaskClient, world: World) -> None:
    event = world.event()
    found = re.search(r'hx-get="([^"]+)"', browser.get(f"/events/{event.id}").text)
    assert found
    poll = found[1].replace("&amp;", "&")

    before = browser.get(poll).status_code
    run_id = world.finished(event, Status.COMPLETED, "1")
    after = browser.get(poll)
    world.clock.advance(timedelta(minutes=2))

    assert 204 == before
    assert f"/runs/{run_id}" in after.text
    assert "data-every" not in browser.get(f"/events/{event.id}").text


def test_an_event_that_is_sent_again_has_the_same_numbers(browser: FlaskClient, world: World) -> None:
    event = world.event(data='{"id":123456789012345678901234567890,"price":1.10}')

    found = re.search(r'data-data="([^"]+)"', browser.get(f"/events/{event.id}").text)

    assert found
    assert '{\n  "id": 123456789012345678901234567890,\n  "price": 1.10\n}' == unescape(found[1])


def test_an_event_of_the_servers_own_is_not_sent_again(browser: FlaskClient, world: World) -> None:
    deep = world.event("inngest/function.finished", '{"result":' + "[" * 980 + "]" * 980 + "}")

    answer = browser.get(f"/events/{deep.id}")

    assert 200 == answer.status_code
    assert "Send again" not in answer.text


def test_a_large_event_can_be_sent_again_whole_and_is_no_example(browser: FlaskClient, world: World) -> None:
    large = world.event("shop/large", f'{{"text":"{"x" * 30_000}"}}')

    assert 2 <= browser.get(f"/events/{large.id}").text.count("x" * 30_000)
    assert 'data-name="shop/large"' not in browser.get("/events").text
