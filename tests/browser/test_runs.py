"""The list of runs and the page of a run, as people use them."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import inngest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.shop import Shop
from tests.wire.harness import App, Server


def span(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def rows(page: Page) -> list[str]:
    return page.locator("#runs a.row").all_inner_texts()


def test_a_filter_that_is_chosen_stands_in_the_address(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs")

    page.get_by_text("Failed", exact=True).first.click()
    page.wait_for_url("**/runs?status=failed")
    page.get_by_label("Function", exact=True).select_option("shop-ship-order")
    page.wait_for_url(re.compile(r"function=shop-ship-order"))

    assert {"Ship an order"} == set(rows(page))
    assert page.get_by_role("checkbox", name="Failed").is_checked()


def test_runs_of_an_app_and_of_a_span_of_time_are_chosen_by_the_form(
    server: Server, shop: Shop, open_page: Open
) -> None:
    annex = App(server.url, "annex", server.keys)

    @annex.function("sweep", "annex/closed", name="Sweep the floor")
    def sweep(ctx: inngest.ContextSync) -> None:
        return None

    annex.serve([sweep])
    server.ended(server.send("annex/closed"))
    page = open_page(f"{server.url}/runs")

    page.get_by_label("App", exact=True).select_option("annex")
    page.wait_for_url(re.compile("app=annex"))
    of_annex = rows(page)
    page.get_by_label("Time", exact=True).select_option("1h")
    page.wait_for_url(re.compile("app=annex.*span=1h|span=1h.*app=annex"))
    annex.stop()

    assert ["Sweep the floor"] == of_annex == rows(page)


def test_a_search_by_an_expression_finds_runs_and_a_wrong_one_is_told(
    server: Server, shop: Shop, open_page: Open
) -> None:
    page = open_page(f"{server.url}/runs")

    page.keyboard.press("/")
    page.keyboard.type("event.data.order == 1042 && output.bill.total > 100.0")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("q="))
    found = rows(page)
    page.get_by_role("searchbox").fill("event.data.order ==")
    page.keyboard.press("Enter")

    expect(page.get_by_role("alert")).to_be_visible()
    assert {"Fulfil an order"} == set(found)


def test_a_run_that_begins_appears_by_itself(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs?function=shop-bill")
    before = len(rows(page))

    server.send("shop/order.billed", {"order": 1})

    expect(page.locator("#runs a.row")).to_have_count(before + 1)


def test_an_open_list_asks_with_its_filters_alone(server: Server, shop: Shop, open_page: Open) -> None:
    """What else went along would stand in logs and in the next page's links: the session's token above all."""
    page = open_page(f"{server.url}/runs?function=shop-bill")
    page.locator("#runs tbody input[type=checkbox]").first.check()

    with page.expect_request("**/runs/list?*") as asked:
        pass

    query = urlsplit(asked.value.url).query
    assert {"function", "seen"} == set(parse_qs(query, keep_blank_values=True))


def test_runs_are_chosen_and_cancelled_together_and_stay_chosen_while_the_list_changes(
    server: Server, shop: Shop, open_page: Open
) -> None:
    for number in (1, 2):
        server.runs_of(server.send("shop/cart.left", {"cart": number, "mine": True}))
    page = open_page(f"{server.url}/runs?function=shop-remind&status=running&q=event.data.mine")
    page.goto(f"{server.url}/runs?function=shop-remind&status=running&span=1h")
    first, second = (page.locator("#runs tbody input[type=checkbox]").nth(at) for at in (0, 1))
    chosen = [it.get_attribute("value") for it in (first, second)]

    first.check()
    second.check()
    server.runs_of(server.send("shop/cart.left", {"cart": 3}))
    expect(page.locator("#runs tbody tr")).to_have_count(page.locator("#runs tbody tr").count() + 1)
    expect(page.locator(".picked")).to_contain_text("2 chosen")
    page.get_by_role("button", name="Cancel them").click()

    expect(page.get_by_role("status").filter(has_text="Cancelled 2 runs")).to_be_visible()
    assert ["Cancelled"] * 2 == [server.run(str(it))["status"] for it in chosen]


def test_the_keyboard_walks_the_list_and_opens_a_run(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs?status=completed")

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    focused = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("x")
    expect(page.locator(".picked")).to_contain_text("1 chosen")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/runs/[0-9A-Z]{26}"))

    expect(page.get_by_role("heading", level=1)).to_contain_text(focused)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/runs")


def test_the_first_thing_the_keyboard_reaches_leads_past_the_navigation(
    server: Server, shop: Shop, open_page: Open
) -> None:
    page = open_page(f"{server.url}/runs")

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    assert "main" == page.evaluate("document.activeElement.id")


def test_a_failing_run_tells_what_failed_where_and_how_often(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{shop.runs['failed']}")

    expect(page.get_by_role("heading", level=1)).to_contain_text("Failed")
    expect(page.locator("#detail .trace")).to_contain_text("OutOfStockError: no lorry goes to Lyon today")
    expect(page.locator("#detail .trace")).to_contain_text("in hand_over")
    expect(page.locator("#detail")).to_contain_text("It failed in step hand over to the carrier, after 2 tries")
    page.locator("#detail").get_by_role("link", name="hand over to the carrier").click()

    expect(page.locator("#detail h2")).to_have_text("hand over to the carrier")
    expect(page.locator(".tries li")).to_have_count(2)
    assert 2 == page.locator(".span.at rect.bar-failed").count()


def test_the_timeline_is_to_scale(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{shop.runs['completed']}")

    def bar(name: str, kind: str) -> dict[str, float]:
        row = page.locator("li.span").filter(has_text=name).first
        box = row.locator(f"rect.bar-{kind}").last.bounding_box()
        assert box is not None
        return {"left": box["x"], "right": box["x"] + box["width"], "width": box["width"]}

    whole, sleep = bar("Fulfil an order", "completed"), bar("let the dust settle", "sleep")
    load, stock, card = (bar(it, "completed") for it in ("load order", "reserve stock", "charge card"))

    run = server.run(shop.runs["completed"])
    slept = next(step for step in run["steps"] if step["name"] == "let the dust settle")
    expected = span(slept["started_at"], slept["ended_at"]) / span(run["run_started_at"], run["ended_at"])
    assert load["right"] <= stock["left"] + 1
    assert max(stock["right"], card["right"]) <= sleep["left"] + 1
    assert sleep["right"] <= whole["right"] + 1
    assert abs(expected - sleep["width"] / whole["width"]) < 0.06


def test_a_part_of_the_timeline_is_chosen_by_dragging(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{shop.runs['completed']}")
    scale = page.locator(".scale .track").bounding_box()
    assert scale is not None

    page.mouse.move(scale["x"] + scale["width"] * 0.2, scale["y"] + 8)
    page.mouse.down()
    page.mouse.move(scale["x"] + scale["width"] * 0.6, scale["y"] + 8)
    page.mouse.up()
    page.wait_for_url(re.compile(r"zoom=\d+-\d+"))

    page.get_by_role("link", name="Whole run").click()
    page.wait_for_url(re.compile(r"/runs/[0-9A-Z]{26}$"))


def test_a_run_that_waits_says_for_what_and_why_the_last_event_was_not_it(
    server: Server, shop: Shop, open_page: Open
) -> None:
    page = open_page(f"{server.url}/runs/{shop.runs['waiting']}")

    note = page.locator(".note").filter(has_text="Waiting")

    expect(note).to_contain_text("waits for the event shop/review.written")
    expect(note).to_contain_text("async.data.order is 99, not 1042")


def test_an_open_page_of_a_run_follows_it_to_its_end(server: Server, shop: Shop, open_page: Open) -> None:
    [run] = server.runs_of(server.send("shop/order.delivered", {"order": 5000}))
    server.step(run["run_id"], "for the review", "Waiting")
    page = open_page(f"{server.url}/runs/{run['run_id']}")
    expect(page.locator("#live .live")).to_be_visible()

    event_id = server.send("shop/review.written", {"order": 5000})

    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    assert 0 == page.locator("[data-every]").count()
    page.get_by_role("link", name=re.compile("for the review")).click()
    expect(page.locator("#detail").get_by_role("link", name=event_id)).to_be_visible()


def test_a_run_is_cancelled_after_a_question(server: Server, shop: Shop, open_page: Open) -> None:
    [run] = server.runs_of(server.send("shop/cart.left", {"cart": 8}))
    page = open_page(f"{server.url}/runs/{run['run_id']}")

    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Not now").first.click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the run").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("Cancelled")
    expect(page.get_by_role("status").filter(has_text="The run is cancelled")).to_be_visible()


def test_runs_that_are_linked_lead_to_each_other(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{shop.runs['completed']}")

    page.locator(".linked").get_by_role("link", name="Write the bill").click()
    page.wait_for_url(lambda url: shop.runs["completed"] not in url)
    page.locator(".linked").get_by_role("link", name=shop.runs["completed"]).click()

    page.wait_for_url(f"**/runs/{shop.runs['completed']}")


def test_the_theme_that_is_chosen_stays(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs")

    page.get_by_role("button", name="Light or dark").click()
    page.goto(f"{server.url}/runs")

    assert "dark" == page.evaluate("document.documentElement.dataset.theme")
