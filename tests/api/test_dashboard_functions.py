"""The pages of functions as requests see them: what they show, what they do, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from orchestrator.api.app import create_app
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.core.effect import Status
from orchestrator.ids import named_uuid
from orchestrator.protocol.function_config import read_function
from orchestrator.store import audit, functions
from orchestrator.store.functions import Declared
from tests.api.conftest import NOW

if TYPE_CHECKING:
    from tests.api.conftest import World

CONFIG = {
    "id": "shop-bill",
    "name": "<b>Bill</b>",
    "triggers": [{"event": "shop/sold", "expression": "event.data.n > 1"}, {"cron": "0 12 * * *"}],
    "steps": {"step": {"id": "step", "runtime": {"url": "http://localhost:5000/api"}, "retries": {"attempts": 7}}},
    "concurrency": [{"limit": 3}, {"limit": 2, "key": "event.data.user"}],
    "throttle": {"limit": 5, "period": "1m", "key": "event.data.shop"},
}


@pytest.fixture
def browser(world: World) -> FlaskClient:
    world.app(slugs=["shop-ship"])
    function = read_function(CONFIG, "it")
    with world.parts.database.write() as conn:
        functions.save_function(conn, named_uuid("app", "shop"), Declared(function, json.dumps(CONFIG), "1"), NOW)
    return create_app(world.parts, doors=Doors(login=False)).test_client()


def test_the_list_has_every_function_and_finds_by_name_id_and_app(browser: FlaskClient) -> None:
    def found(query: str) -> list[bool]:
        page = browser.get(f"/functions?q={query}").text
        return ["/functions/shop-bill" in page, "/functions/shop-ship" in page]

    assert [True, True] == found("")
    assert [True, False] == found("BILL")
    assert [False, True] == found("shop-ship")
    assert [False, False] == found("nothing-of-the-kind")


def test_a_page_tells_triggers_next_ticks_promises_limits_and_runs(browser: FlaskClient, world: World) -> None:
    done = world.finished(world.event(), Status.COMPLETED, "1")

    page = browser.get("/functions/shop-bill").text

    assert "&lt;b&gt;Bill&lt;/b&gt;" in page
    assert "<b>Bill" not in page
    assert "event.data.n &gt; 1" in page
    assert 5 == sum(f'datetime="2026-11-{day}T12:00:00.000Z"' in page for day in range(21, 27))
    assert "7 after the first attempt" in page
    assert "5 starts in 1m, 0 more at once, by event.data.shop" in page
    assert "event.data.user" in page
    assert f"/runs/{done}" in page


def test_a_function_whose_configuration_cannot_be_read_is_shown_all_the_same(
    browser: FlaskClient, world: World
) -> None:
    with world.parts.database.write() as conn:
        old = replace(read_function(CONFIG, "it"), slug="shop-old")
        functions.save_function(conn, named_uuid("app", "shop"), Declared(old, '{"id":"shop-old"}', "1"), NOW)

    assert "Unreadable" in browser.get("/functions").text
    assert "cannot be read" in browser.get("/functions/shop-old").text


def test_pausing_resuming_and_limiting_are_noted(browser: FlaskClient, world: World) -> None:
    for action, form in (("pause", {}), ("resume", {}), ("limit", {"concurrency": "9", "key": "event.data.user"})):
        answer = browser.post(f"/functions/{action}", data={"function": "shop-bill"} | form)
        assert (303, "/functions/shop-bill") == (answer.status_code, answer.headers["Location"])

    with world.parts.database.read() as conn:
        noted = [it.action for it in audit.latest(conn, 10)]
    assert {"function paused", "function resumed", "concurrency set"} == set(noted)
    assert "instead of 2" in browser.get("/functions/shop-bill").text


def test_invoking_leads_to_the_run(browser: FlaskClient) -> None:
    answer = browser.post("/functions/invoke", data={"function": "shop-bill", "data": '{"n": 1}'})

    assert (303, "/runs/") == (answer.status_code, answer.headers["Location"][:6])


@pytest.mark.parametrize(
    ("action", "form", "status", "said"),
    [
        ("pause", {}, 404, "names no function"),
        ("pause", {"function": "gone"}, 404, "there is no function gone"),
        ("pause", {"function": "\0"}, 404, "names no function"),
        ("invoke", {"function": "gone"}, 404, "there is no function gone"),
        ("invoke", {"function": "shop-bill", "data": "["}, 400, "data must be a json object"),
        ("invoke", {"function": "shop-bill", "data": "[]"}, 400, "data must be a json object"),
        ("limit", {"function": "shop-bill", "concurrency": "0"}, 400, "concurrency must be a whole number"),
        ("limit", {"function": "shop-bill", "concurrency": "٣"}, 400, "concurrency must be a whole number"),
        ("limit", {"function": "shop-bill", "concurrency": "1", "key": "no.such"}, 400, "key"),
    ],
)
def test_what_cannot_be_done_is_told(
    browser: FlaskClient, action: str, form: dict[str, str], status: int, said: str
) -> None:
    answer = browser.post(f"/functions/{action}", data=form)

    assert (status, True) == (answer.status_code, said in answer.text.lower())


def test_an_unknown_function_is_not_found(browser: FlaskClient) -> None:
    assert [404, 404] == [browser.get(path).status_code for path in ("/functions/gone", "/functions/%00")]


def test_a_throttle_is_set_and_given_back_by_the_form(browser: FlaskClient) -> None:
    def post(**form: str) -> str:
        page = browser.post("/functions/starts", data={"function": "shop-bill"} | form, follow_redirects=True).text
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))

    assert "9 in 30s set by an operator" in post(of="throttle", number="9", period="30s")
    assert "4 in 1h set by an operator" in post(of="rate_limit", number="4", period="1h")
    assert "Throttle 5 in 1m none held Change" in post(of="throttle", number="", period="1m")


def test_a_page_tells_how_much_of_a_rate_limit_is_used(browser: FlaskClient) -> None:
    def told(**form: str) -> str:
        wanted = {"function": "shop-bill", "of": "rate_limit", "number": "4", "period": "1h"}
        page = browser.post("/functions/starts", data=wanted | form, follow_redirects=True).text
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))

    assert "Rate limit 4 in 1h set by an operator 0 of 4 Change" in told()
    assert "Throttle 5 in 1m none held Change" in told()


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"of": "debounce", "number": "1", "period": "1m"}, "names no limit"),
        ({"of": "throttle", "number": "0", "period": "1m"}, "must be a whole number"),
        ({"of": "throttle", "number": "x", "period": "1m"}, "must be a whole number"),
        ({"of": "throttle", "number": "1", "period": ""}, "is not a duration"),
        ({"of": "throttle", "number": "1", "period": "40d"}, "must be from 1s to 31d"),
    ],
)
def test_what_is_no_limit_on_starts_is_told(browser: FlaskClient, form: dict[str, str], said: str) -> None:
    answer = browser.post("/functions/starts", data={"function": "shop-bill"} | form)

    assert (400, True) == (answer.status_code, said in answer.text)


def test_every_way_to_look_at_a_function_tells_what_counts(browser: FlaskClient) -> None:
    browser.patch("/v1/functions/shop-bill", json={"throttle": {"limit": 9, "period": "30s"}})

    second = browser.get("/v2/apps/shop/functions/bill").get_json()["data"]["configuration"]["throttle"]
    query = '{functionBySlug(query: {functionSlug: "shop-bill"}) {configuration {throttle {limit period key}}}}'
    asked = browser.post("/v0/gql", json={"query": query}).get_json()["data"]["functionBySlug"]
    [first] = [it for it in browser.get("/v1/apps/shop/functions").get_json() if it["id"] == "shop-bill"]

    expected = {"limit": 9, "period": "30s", "key": "event.data.shop"}
    assert expected == asked["configuration"]["throttle"]
    assert expected | {"burst": 0} == second
    assert ({"limit": 9, "period": "30s"}, None) == (first["throttle"], first["rate_limit"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "wait_look_back is missing"),
        ({"wait_look_back": 0}, "wait_look_back must be true or false"),
        ({"throttle": 5}, "throttle must be an object with a limit and a period"),
        ({"throttle": {"limit": 5}}, "period"),
        ({"throttle": {"limit": 0, "period": "1m"}}, "limit must be a whole number"),
        ({"rate_limit": {"limit": "5", "period": "1m"}}, "limit must be a whole number"),
        ({"rate_limit": {"limit": 5, "period": 60}}, "period"),
        ({"rate_limit": {"limit": 5, "period": "forever"}}, "rate_limit.period"),
    ],
)
def test_a_body_that_is_no_limit_is_refused(browser: FlaskClient, body: dict[str, object], said: str) -> None:
    answer = browser.patch("/v1/functions/shop-bill", json=body)

    assert (400, True) == (answer.status_code, said in answer.get_json()["error"])


def test_a_page_that_did_not_change_is_not_sent_again(browser: FlaskClient, world: World) -> None:
    found = re.search(r'hx-get="([^"]+)"', browser.get("/functions/shop-bill").text)
    assert found
    poll = found[1].replace("&amp;", "&")

    before = browser.get(poll).status_code
    world.finished(world.event(), Status.COMPLETED, "1")

    assert (204, 200) == (before, browser.get(poll).status_code)
