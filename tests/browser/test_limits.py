"""Limits of a function are set in the browser, and the page tells what counts."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.shop import Shop
from tests.wire.harness import Server


def fill(page: Page, button: str, number: str, period: str) -> None:
    """Open the dialog by its button, fill it in, and send it."""
    page.get_by_role("button", name=button).click()
    dialog = page.get_by_role("dialog", name="Throttle")
    dialog.get_by_label("Starts").fill(number)
    dialog.get_by_label("Within").fill(period)
    dialog.get_by_role("button", name="Set it").click()


def test_a_throttle_is_set_without_a_deploy_and_given_back(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/functions/{shop.app.app_id}-remind")
    row = page.get_by_role("row").filter(has_text="Throttle")
    expect(row).to_contain_text("any number")

    fill(page, "Set throttle", "20", "1m")
    expect(row).to_contain_text("20 in 1m set by an operator")
    fill(page, "Change throttle", "", "1m")

    expect(row).to_contain_text("any number")
