"""Apps as people use them: added by URL, asked again, failing with the reason, taken out of service."""

from __future__ import annotations

from collections.abc import Iterator

import inngest
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import NARROW, Open
from tests.browser.shop import ATTACK
from tests.wire.harness import App, Server


@pytest.fixture
def stall(server: Server) -> Iterator[App]:
    """An app that the server has not heard of."""
    app = App(server.url, "stall", server.keys)

    @app.function("sell", "stall/sold", name="Sell")
    def sell(ctx: inngest.ContextSync) -> str:
        return "sold"

    app.serve([sell], sync=False)
    yield app
    app.stop()


def row_of(page: Page, url: str) -> Locator:
    return page.get_by_role("row").filter(has_text=url)


def add(page: Page, url: str) -> None:
    page.get_by_role("button", name="Add an app").click()
    page.get_by_role("dialog").get_by_label("URL").fill(url)
    page.get_by_role("dialog").get_by_role("button", name="Add it").click()


def test_an_app_is_added_by_its_url_fails_with_the_reason_is_asked_again_and_removed(
    server: Server, stall: App, open_page: Open
) -> None:
    page = open_page(f"{server.url}/apps")

    add(page, stall.url)
    expect(page.get_by_role("status")).to_contain_text("Synced")
    expect(row_of(page, stall.url)).to_contain_text("Synced")
    assert "Completed" == server.ended(server.send("stall/sold"))["status"]

    stall.go_down()
    row_of(page, stall.url).get_by_role("button", name="Sync").click()
    expect(page.get_by_role("status")).to_contain_text("Not synced")
    expect(row_of(page, stall.url)).to_contain_text("Failing")
    expect(row_of(page, stall.url).locator(".why")).to_contain_text("refused")

    stall.come_back()
    row_of(page, stall.url).get_by_role("button", name="Sync").click()
    expect(row_of(page, stall.url)).to_contain_text("Synced")
    assert 0 == row_of(page, stall.url).locator(".why").count()

    row_of(page, stall.url).get_by_role("button", name="Remove").click()
    dialog = page.get_by_role("dialog", name="Take stall out of service?")
    dialog.get_by_role("button", name="Take it out").click()
    expect(page.get_by_role("status")).to_contain_text("stall is out of service")
    assert 0 == row_of(page, stall.url).count()


def test_an_app_that_fails_while_the_page_is_open_is_shown_so_by_itself(
    server: Server, stall: App, open_page: Open
) -> None:
    page = open_page(f"{server.url}/apps", size=NARROW)
    add(page, stall.url)
    expect(row_of(page, stall.url)).to_contain_text("Synced")

    stall.go_down()
    other = open_page(f"{server.url}/apps")
    row_of(other, stall.url).get_by_role("button", name="Sync").click()

    expect(row_of(page, stall.url)).to_contain_text("Failing")
    stall.come_back()


def test_a_url_that_leads_nowhere_is_kept_with_the_reason_and_one_that_is_none_is_refused(
    server: Server, open_page: Open
) -> None:
    page, nowhere = open_page(f"{server.url}/apps"), "http://127.0.0.1:1/api/inngest?x=<b>"

    add(page, nowhere)
    expect(row_of(page, "127.0.0.1:1/")).to_contain_text("Failing")
    add(page, f"http://127.0.0.1:1/{ATTACK}")
    expect(page.get_by_role("main")).to_contain_text("<img src=x")
    assert page.evaluate("window.attacked === undefined")
    page.goto(f"{server.url}/apps")
    page.get_by_role("button", name="Add an app").click()
    page.get_by_role("dialog").get_by_label("URL").fill("ftp://127.0.0.1/x")
    page.get_by_role("dialog").get_by_role("button", name="Add it").click()
    expect(page.get_by_role("alert")).to_contain_text("url must be")
    page.goto(f"{server.url}/apps")
    for _ in range(row_of(page, "127.0.0.1:1/").count()):
        row_of(page, "127.0.0.1:1/").first.get_by_role("button", name="Remove").click()
        page.get_by_role("dialog").get_by_role("button", name="Take it out").click()
        expect(page.get_by_role("status")).to_contain_text("out of service")
