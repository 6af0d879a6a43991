"""Running again: one run, from one of its steps, those that were chosen, and all that a list shows."""

from __future__ import annotations

import re
from datetime import timedelta

import inngest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.gates import serving
from tests.browser.shop import Shop
from tests.wire.harness import App, Server

_RUN = re.compile(r"/runs/([0-9A-Z]{26})$")


def at_another_run(url: str, run_id: str) -> bool:
    found = _RUN.search(url)
    return found is not None and found[1] != run_id


def test_a_run_is_run_again_and_both_lead_to_each_other(server: Server, shop: Shop, open_page: Open) -> None:
    original = server.ended(server.send("shop/order.billed", {"order": 71}))["run_id"]
    page = open_page(f"{server.url}/runs/{original}")

    page.get_by_role("button", name="Run again", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: at_another_run(url, original))
    again = page.url[-26:]

    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    page.locator(".linked").get_by_role("link", name=original).click()
    page.wait_for_url(f"**/runs/{original}")
    expect(page.locator(".linked").get_by_role("link", name=again)).to_be_visible()


def test_a_run_is_run_again_from_a_step(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{shop.runs['completed']}")

    page.get_by_role("link", name=re.compile("let the dust settle")).click()
    page.get_by_role("button", name="Run again from here").click()
    dialog = page.get_by_role("dialog", name="Run again from")
    expect(dialog).to_contain_text("let the dust settle")
    dialog.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: at_another_run(url, shop.runs["completed"]))
    again = server.run_ended(page.url[-26:])

    calls = [call.body["ctx"] for call in shop.app.calls(again["run_id"])]
    assert "Completed" == again["status"]
    assert calls
    assert not any("reserve stock" in str(call) for call in calls)


def test_all_runs_of_a_list_are_run_again_after_they_were_counted(server: Server, shop: Shop, open_page: Open) -> None:
    for order in range(3):
        server.ended(server.send("shop/order.billed", {"order": order, "bulk": True}))
    page = open_page(f"{server.url}/runs?function=shop-bill&status=completed&q=has(event.data.bulk)")

    page.get_by_role("link", name="All of these").click()
    again = page.locator("section").filter(has=page.get_by_role("heading", name="Run again"))
    cancel = page.locator("section").filter(has=page.get_by_role("heading", name="Cancel"))
    expect(cancel).to_contain_text("runs that have ended cannot be cancelled")
    expect(again.locator(".big")).to_have_text("3")
    again.get_by_role("button", name="Run again: 3").click()
    page.wait_for_url("**/orders/*")

    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    expect(page.locator(".big")).to_contain_text("3 of 3")
    page.goto(f"{server.url}/runs/bulk")
    expect(page.get_by_role("link", name="Run again").first).to_be_visible()


def test_an_order_is_stopped_in_mid_work_and_what_is_left_stays_as_it_was(server: Server, open_page: Open) -> None:
    with serving(server, "slowly", _sleepers) as app:
        carts = [server.runs_of(server.send("slowly/begun", {"n": number}))[0]["run_id"] for number in range(6)]
        for run_id in carts:
            server.step(run_id, "for long", "Sleeping")
        page = open_page(f"{server.url}/runs?function={app.app_id}-sleep&status=running")

        page.get_by_role("link", name="All of these").click()
        cancel = page.locator("section").filter(has=page.get_by_role("heading", name="Cancel"))
        expect(cancel.locator(".big")).to_have_text("6")
        assert all("Running" == server.run(run_id)["status"] for run_id in carts)
        cancel.get_by_label("At most").fill("1")
        cancel.get_by_role("button", name="Cancel: 6").click()
        page.wait_for_url("**/orders/*")
        expect(page.locator(".big")).to_have_text(re.compile(r"[1-4] of 6"))
        expect(page.get_by_role("img", name="per cent")).to_be_visible()
        page.get_by_role("button", name="Stop").click()

        expect(page.get_by_role("heading", level=1)).to_contain_text("Stopped")
        assert 0 == page.locator("[data-every]").count()
        done = int(page.locator(".big").inner_text().split()[0])
        cancelled = [run_id for run_id in carts if server.run(run_id)["status"] == "Cancelled"]
        assert 1 <= done == len(cancelled) <= 5
        assert set(carts) - set(cancelled)


def _sleepers(app: App) -> list[inngest.Function]:
    @app.function("sleep", "slowly/begun", name="Sleep for long")
    def sleep(ctx: inngest.ContextSync) -> None:
        ctx.step.sleep("for long", timedelta(days=9))

    return [sleep]
