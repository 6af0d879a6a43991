"""Events as people use them: the stream, one event with its runs, sending one and sending again."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.shop import Shop
from tests.wire.harness import Server


def test_an_event_that_comes_appears_by_itself(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/events?name=shop/noticed")
    expect(page.get_by_text("No such events")).to_be_visible()

    event_id = server.send("shop/noticed", {"n": 1})

    expect(page.locator(f"#event-{event_id}")).to_contain_text("shop/noticed")


def test_an_event_leads_to_the_runs_it_started(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{shop.runs['completed']}")

    page.get_by_role("link", name="shop/order.paid").click()
    page.wait_for_url(f"**/events/{shop.events['completed']}")
    expect(page.locator("pre")).to_contain_text('"name": "Ada"')
    page.locator(f"main a[href='/runs/{shop.runs['completed']}']").click()

    page.wait_for_url(f"**/runs/{shop.runs['completed']}")


def test_an_event_is_sent_from_an_example_and_once_again(server: Server, shop: Shop, open_page: Open) -> None:
    server.ended(server.send("shop/order.billed", {"order": 12}))
    page = open_page(f"{server.url}/events")

    page.get_by_role("button", name="Send an event").click()
    dialog = page.get_by_role("dialog", name="Send an event")
    dialog.get_by_role("button", name="shop/order.billed").click()
    expect(dialog.get_by_label("Data")).to_have_value(re.compile('"order": 12'))
    dialog.get_by_label("Data").fill('{"order": 9007199254740993}')
    dialog.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url(re.compile("/events/[0-9A-Z]{26}$"))
    first = page.url[-26:]
    expect(page.locator("pre")).to_contain_text("9007199254740993")
    page.get_by_role("button", name="Send again").click()
    page.get_by_role("dialog").get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url(lambda url: first not in url and "/events/" in url)

    assert "Completed" == server.ended(page.url[-26:])["status"]


def test_an_event_that_cannot_be_is_told(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/events")
    page.get_by_role("button", name="Send an event").click()
    dialog = page.get_by_role("dialog", name="Send an event")

    dialog.get_by_label("Name").fill("shop/listed")
    dialog.get_by_label("Data").fill("[1]")
    dialog.get_by_role("button", name="Send", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("data")
