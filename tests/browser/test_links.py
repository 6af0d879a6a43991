"""What leads from one thing to another: events that a run came of and went on by, tries of a step, pages of a list."""

from __future__ import annotations

import re
from datetime import timedelta

import inngest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.gates import serving
from tests.browser.shop import Shop
from tests.wire.harness import App, Server


def test_the_event_that_a_run_went_on_by_is_shown_and_a_link(server: Server, shop: Shop, open_page: Open) -> None:
    [run] = server.runs_of(server.send("shop/order.delivered", {"order": 6000}))
    server.step(run["run_id"], "for the review", "Waiting")
    review = server.send("shop/review.written", {"order": 6000, "stars": 5})
    server.run_ended(run["run_id"])
    page = open_page(f"{server.url}/runs/{run['run_id']}")

    page.locator(".linked").get_by_role("link", name="shop/review.written").click()

    page.wait_for_url(f"**/events/{review}")
    expect(page.get_by_label("Event", exact=True)).to_contain_text('"stars": 5')
    expect(page.get_by_role("main")).to_contain_text("run that waited for it")


def test_all_events_that_a_run_came_of_are_links(server: Server, open_page: Open) -> None:
    with serving(server, "bundle", _batches):
        events = [server.send("bundle/added", {"n": number}) for number in range(3)]
        [run] = server.runs_of(events[0])
        page = open_page(f"{server.url}/runs/{run['run_id']}")

        for event_id in events:
            expect(page.locator(".linked").get_by_role("link", name=event_id)).to_be_visible()
        page.locator(".linked").get_by_role("link", name=events[2]).click()
        page.wait_for_url(f"**/events/{events[2]}")
        page.get_by_role("link", name="Bundle up").click()
        page.wait_for_url(f"**/runs/{run['run_id']}")


def test_each_try_of_a_step_shows_its_own_error(server: Server, open_page: Open) -> None:
    with serving(server, "moody", _moody):
        run = server.ended(server.send("moody/asked"))
        page = open_page(f"{server.url}/runs/{run['run_id']}")

        page.get_by_role("link", name=re.compile("ask for it")).click()
        page.get_by_role("link", name="Try 1").click()
        expect(page.get_by_role("heading", name="ask for it, try 1")).to_be_visible()
        expect(page.locator("#detail .trace")).to_contain_text("not in the mood, 0")
        expect(page.locator("li.span.at")).to_contain_text("ask for it")
        page.locator("#detail").get_by_role("link", name="ask for it").click()

        expect(page.locator("#detail pre")).to_contain_text("at last")


def test_an_event_that_was_just_sent_shows_the_runs_it_starts_by_itself(
    server: Server, shop: Shop, open_page: Open
) -> None:
    page = open_page(f"{server.url}/events")
    page.get_by_role("button", name="Send an event").click()
    dialog = page.get_by_role("dialog", name="Send an event")
    dialog.get_by_label("Name").fill("shop/order.packed")
    dialog.get_by_label("Data").fill('{"order": 1, "city": "Nice"}')
    dialog.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url(re.compile("/events/[0-9A-Z]{26}$"))

    row = page.get_by_role("row").filter(has_text="Ship an order")

    expect(row).to_contain_text("Failed")


def test_a_large_event_is_sent_again_whole(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/events/{shop.events['large']}")

    page.get_by_role("button", name="Send again").click()
    page.get_by_role("dialog").get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url(lambda url: "/events/" in url and shop.events["large"] not in url)
    run = server.ended(page.url[-26:])

    assert "Completed" == run["status"]
    pages = server.request("GET", f"/v1/events/{page.url[-26:]}")[1]["data"]["data"]["pages"]
    assert 1_400 == len(pages)


def test_a_list_of_more_runs_than_a_page_is_walked_by_its_cursors(server: Server, open_page: Open) -> None:
    with serving(server, "many", _quick):
        event_ids = [server.send("many/of.them", {"n": number}) for number in range(60)]
        runs = [server.runs_of(event_id)[0]["run_id"] for event_id in event_ids]
        page = open_page(f"{server.url}/runs?event=many/of.them")
        rows = page.locator("#runs a.row")

        def shown() -> list[str]:
            return [str(it)[-26:] for it in rows.evaluate_all("all => all.map(it => it.href)")]

        expect(rows).to_have_count(50)
        expect(page.locator(".pager")).to_contain_text("50 of 60 runs")
        newest = shown()
        page.get_by_role("link", name="Older").click()
        page.wait_for_url(re.compile("after="))
        expect(rows).to_have_count(10)
        older = shown()
        page.get_by_role("link", name="Newest").click()
        page.wait_for_url(re.compile(r"/runs\?event=[^&]+$"))

        assert sorted(runs) == sorted(newest + older)


def _batches(app: App) -> list[inngest.Function]:
    batch = inngest.Batch(max_size=3, timeout=timedelta(seconds=30))

    @app.function("tie", "bundle/added", name="Bundle up", batch_events=batch)
    def tie(ctx: inngest.ContextSync) -> int:
        return len(ctx.events)

    return [tie]


def _moody(app: App) -> list[inngest.Function]:
    tries = [0]

    @app.function("ask", "moody/asked", name="Ask", retries=3)
    def ask(ctx: inngest.ContextSync) -> object:
        def body() -> str:
            tries[0] += 1
            if tries[0] < 3:
                raise ValueError(f"not in the mood, {tries[0] - 1}")
            return "at last"

        return ctx.step.run("ask for it", body)

    return [ask]


def _quick(app: App) -> list[inngest.Function]:
    @app.function("quick", "many/of.them", name="Quick")
    def quick(ctx: inngest.ContextSync) -> None:
        return None

    return [quick]
