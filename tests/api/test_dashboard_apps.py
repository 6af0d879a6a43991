"""The page of apps as requests see it: what it shows, what it does, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from orchestrator.api.app import create_app
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.errors import TransportError
from orchestrator.ids import named_uuid
from orchestrator.store import audit, functions
from tests.api.conftest import NOW

if TYPE_CHECKING:
    from tests.api.conftest import World


class Unreachable:
    def request(self, *_: object, **__: object) -> object:
        raise TransportError("nobody listens there", "unreachable")


@pytest.fixture
def browser(world: World) -> FlaskClient:
    world.app(slugs=["shop-ship", "shop-bill"])
    parts = replace(world.parts, http=Unreachable())  # type: ignore[arg-type]
    return create_app(parts, doors=Doors(login=False)).test_client()


def names(world: World) -> list[str | None]:
    with world.parts.database.read() as conn:
        return [app.name for app in functions.all_apps(conn)]


def test_it_shows_what_is_synced_and_why_something_fails(browser: FlaskClient, world: World) -> None:
    with world.parts.database.write() as conn:
        failing = {"name": "<i>bad</i>", "url": "http://localhost:1/x", "error": "it <b>refuses</b> us"}
        functions.save_app(conn, named_uuid("app", "bad"), failing, NOW)

    page = browser.get("/apps").text

    assert "/functions?q=shop" in page
    assert "it &lt;b&gt;refuses&lt;/b&gt; us" in page
    assert "<i>bad" not in page


def test_an_app_that_is_added_is_asked_and_its_answer_told(browser: FlaskClient, world: World) -> None:
    answer = browser.post("/apps/add", data={"url": "http://localhost:9/api/inngest"}, follow_redirects=True)

    assert "Not synced: nobody listens there" in answer.text
    assert ["shop", None] == names(world)
    with world.parts.database.read() as conn:
        assert ["app synced by hand", "app asked to sync"] == [it.action for it in audit.latest(conn, 5)]


def test_an_app_that_cannot_be_asked_is_failing_with_the_reason(browser: FlaskClient, world: World) -> None:
    before = browser.get("/apps").text

    browser.post("/apps/sync", data={"app": named_uuid("app", "shop")})

    assert "Failing" not in before
    assert '<span class="under why">nobody listens there</span>' in browser.get("/apps").text


def test_an_app_is_asked_again_and_taken_out_of_service(browser: FlaskClient, world: World) -> None:
    app = {"app": named_uuid("app", "shop")}

    assert "Not synced" in browser.post("/apps/sync", data=app, follow_redirects=True).text
    assert "shop is out of service" in browser.post("/apps/remove", data=app, follow_redirects=True).text
    assert [] == names(world)


@pytest.mark.parametrize(
    ("action", "form", "status", "said"),
    [
        ("add", {}, 400, "url"),
        ("add", {"url": "ftp://a"}, 400, "url must be"),
        ("add", {"url": "local://shop"}, 400, "url must be"),
        ("sync", {"app": "gone"}, 404, "there is no such app"),
        ("remove", {"app": "\0"}, 404, "there is no such app"),
    ],
)
def test_what_cannot_be_done_is_told(
    browser: FlaskClient, action: str, form: dict[str, str], status: int, said: str
) -> None:
    answer = browser.post(f"/apps/{action}", data=form)

    assert (status, True) == (answer.status_code, said in answer.text.lower())


def test_an_app_in_process_cannot_be_asked(browser: FlaskClient, world: World) -> None:
    world.app("inside", "local://inside")

    answer = browser.post("/apps/sync", data={"app": named_uuid("app", "inside")})

    assert (400, True) == (answer.status_code, "tells of itself" in answer.text)


def test_a_page_that_did_not_change_is_not_sent_again(browser: FlaskClient, world: World) -> None:
    found = re.search(r'hx-get="([^"]+)"', browser.get("/apps").text)
    assert found
    poll = found[1].replace("&amp;", "&")

    before = browser.get(poll).status_code
    world.app("second", "http://localhost:5001/api")

    assert (204, 200) == (before, browser.get(poll).status_code)
