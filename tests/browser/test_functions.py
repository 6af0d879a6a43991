"""Functions as people use them: found, invoked, paused and resumed, their limits seen at work and changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import inngest
import pytest
from playwright.sync_api import Page, expect

from orchestrator.core.event import ordered_event
from orchestrator.ids import new_ulid
from orchestrator.store import events
from tests.browser.conftest import Open
from tests.browser.gates import Gate, serving
from tests.browser.shop import Shop
from tests.wire.harness import App, Embedded, Server


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def yard(server: Server, gate: Gate) -> Iterator[App]:
    """An app whose functions have limits."""

    def declare(app: App) -> list[inngest.Function]:
        limits = [inngest.Concurrency(limit=1, key="event.data.scales"), inngest.Concurrency(limit=5)]

        @app.function("weigh", "yard/weighed", name="Weigh a parcel", concurrency=limits, retries=0)
        def weigh(ctx: inngest.ContextSync) -> str:
            return ctx.step.run("put it on the scales", gate.pass_)

        @app.create("sweep", inngest.TriggerCron(cron="0 4 * * *"), name="Sweep the yard")
        def sweep(ctx: inngest.ContextSync) -> str:
            return "clean"

        @app.function(
            "pass", "yard/passed", name="Pass the toll", throttle=inngest.Throttle(limit=1, period=timedelta(hours=1))
        )
        def toll(ctx: inngest.ContextSync) -> str:
            return "paid"

        @app.function(
            "tip",
            "yard/tipped",
            name="Tip the load",
            rate_limit=inngest.RateLimit(limit=2, period=timedelta(hours=1), key="event.data.cart"),
        )
        def tip(ctx: inngest.ContextSync) -> str:
            return "empty"

        return [weigh, sweep, toll, tip]

    with serving(server, "yard", declare) as app:
        yield app
        gate.open()


def test_a_function_is_found_by_a_part_of_its_name(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/functions")

    page.keyboard.press("/")
    page.keyboard.type("REVIEW")
    page.keyboard.press("Enter")
    page.wait_for_url("**/functions?q=REVIEW")

    assert ["Await a review"] == page.locator("main a.row").all_inner_texts()
    page.get_by_role("link", name="Await a review").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Await a review")


def test_its_page_tells_what_starts_it_when_next_and_how_it_is_declared(
    server: Server, yard: App, open_page: Open
) -> None:
    page = open_page(f"{server.url}/functions/yard-sweep")

    starts = page.locator("section").filter(has=page.get_by_role("heading", name="What starts it"))
    expect(starts).to_contain_text("0 4 * * *")
    ticks = starts.locator("time").evaluate_all("all => all.map(it => it.dateTime)")

    assert 5 == len(ticks)
    assert all("T04:00:00" in tick for tick in ticks)
    expect(page.get_by_label("Configuration")).to_contain_text('"cron": "0 4 * * *"')


def test_a_function_is_invoked_with_json_and_leads_to_its_run(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/functions/shop-bill")

    page.get_by_role("button", name="Invoke").click()
    dialog = page.get_by_role("dialog", name="Invoke Write the bill")
    dialog.get_by_label("Data").fill('{"order": 4711,')
    dialog.get_by_role("button", name="Invoke").click()
    expect(dialog.get_by_label("Data")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Data").fill('{"order": 4711}')
    dialog.get_by_role("button", name="Invoke").click()
    page.wait_for_url(re.compile("/runs/[0-9A-Z]{26}$"))

    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    expect(page.locator("#detail")).to_contain_text("B-4711")


def test_a_paused_function_starts_nothing_until_it_is_resumed(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/functions/shop-remind")

    page.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause it").click()
    expect(page.locator(".note").filter(has_text="it starts no runs")).to_be_visible()
    held = server.runs_of(server.send("shop/cart.left", {"cart": 70}))[0]
    assert "Skipped" == server.run(held["run_id"])["status"]
    page.goto(f"{server.url}/functions?q=remind")
    expect(page.get_by_role("row").filter(has_text="Remind of a cart")).to_contain_text("Paused")
    page.goto(f"{server.url}/functions/shop-remind")
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume it").click()

    expect(page.get_by_role("status")).to_contain_text("starts runs again")
    [run] = server.runs_of(server.send("shop/cart.left", {"cart": 71}))
    server.step(run["run_id"], "for three days", "Sleeping")


def numbers(page: Page, key: str) -> list[str]:
    """How much of a limit is in use, and how many wait for it."""
    return (
        page.get_by_role("row")
        .filter(has=page.get_by_role("cell", name=key, exact=True))
        .locator("td.number")
        .all_inner_texts()[:2]
    )


def test_how_full_limits_are_is_seen_while_calls_wait_and_who_waits_says_for_whom(
    server: Server, yard: App, gate: Gate, open_page: Open
) -> None:
    page = open_page(f"{server.url}/functions/yard-weigh")
    runs = [server.runs_of(server.send("yard/weighed", {"scales": "big"}))[0]["run_id"] for _ in range(3)]

    crowded = page.get_by_role("row").filter(has=page.get_by_role("cell", name="big", exact=True))
    expect(crowded).to_contain_text("1 of 1")
    expect(crowded.locator("td.number").nth(1)).to_have_text("2")
    assert "1" == numbers(page, "all calls")[0]
    other = open_page(f"{server.url}/runs/{runs[2]}")
    note = other.locator(".note").filter(has_text="Waiting")
    expect(note).to_contain_text("waits for a slot: 1 of 1 calls")
    note.get_by_role("link", name=runs[0]).click()
    other.wait_for_url(f"**/runs/{runs[0]}")

    gate.open()
    expect(crowded).to_have_count(0)
    assert ["Completed"] * 3 == [server.run_ended(run_id)["status"] for run_id in runs]


def test_what_a_throttle_holds_is_told_and_shown(server: Server, yard: App, open_page: Open) -> None:
    runs = [server.runs_of(server.send("yard/passed", {"n": number}))[0]["run_id"] for number in range(4)]
    page = open_page(f"{server.url}/functions/yard-pass")

    note = page.locator(".note").filter(has_text="Its throttle holds")
    expect(note).to_contain_text(re.compile("holds [23] runs"))
    note.get_by_role("link", name="Show them").click()
    page.wait_for_url("**/runs?function=yard-pass&status=queued")
    page.locator(f"#run-{runs[3]}").get_by_role("link").click()

    expect(page.locator(".note")).to_contain_text("A throttle holds it")


def test_what_of_a_rate_limit_is_used_up_is_told_while_it_changes(server: Server, yard: App, open_page: Open) -> None:
    page = open_page(f"{server.url}/functions/yard-tip")
    limit = page.get_by_role("row").filter(has_text="Rate limit")
    expect(limit).to_contain_text("0 of 0 keys used up")

    for cart in ("red", "blue", "red"):
        server.runs_of(server.send("yard/tipped", {"cart": cart}))

    expect(limit).to_contain_text("1 of 2 keys used up")


def test_a_limit_is_changed_at_once_and_taken_back(server: Server, yard: App, gate: Gate, open_page: Open) -> None:
    page = open_page(f"{server.url}/functions/yard-weigh")
    for _ in range(3):
        server.runs_of(server.send("yard/weighed", {"scales": "small"}))
    crowded = page.get_by_role("row").filter(has=page.get_by_role("cell", name="small", exact=True))
    expect(crowded).to_contain_text("1 of 1")
    of_scales = page.get_by_role("row").filter(has_text="event.data.scales")

    of_scales.get_by_role("button", name="Change").click()
    page.get_by_role("dialog").get_by_label("At most").fill("2")
    page.get_by_role("dialog").get_by_role("button", name="Set it").click()

    expect(of_scales).to_contain_text("2 instead of 1")
    expect(crowded).to_contain_text("2 of 2")
    of_scales.get_by_role("button", name="Change").click()
    page.get_by_role("dialog").get_by_label("At most").fill("")
    page.get_by_role("dialog").get_by_role("button", name="Set it").click()
    expect(page.get_by_role("status")).to_contain_text("that of the app again")
    gate.open()


def test_the_page_of_a_run_that_was_promised_becomes_the_run_by_itself(
    server: Embedded, shop: Shop, open_page: Open
) -> None:
    parts, run_id = server.embedded.parts, new_ulid()
    page = open_page(f"{server.url}/runs/{run_id}")
    expect(page.get_by_role("main")).to_contain_text("About to begin")

    now = parts.clock.now()
    event = ordered_event("shop-bill", '{"order": 12}', None, now, new_ulid(), run_id)
    with parts.database.write() as conn:
        hints = events.add(conn, [event], now)
    parts.announcer.announce(hints)

    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    expect(page.locator("#detail")).to_contain_text("B-12")
    page.get_by_role("button", name="Run again", exact=True).click()
    expect(page.get_by_role("dialog", name="Run this again?")).to_be_visible()


def test_a_function_that_declares_no_limit_is_given_one(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/functions/shop-await-review")
    page.get_by_role("button", name="Set a limit").click()
    page.get_by_role("dialog").get_by_label("At most").fill("3")
    page.get_by_role("dialog").get_by_role("button", name="Set it").click()

    expect(page.get_by_role("status")).to_contain_text("counts at once")
    limit = page.get_by_role("row").filter(has_text="all calls")
    expect(limit.get_by_role("cell").first).to_have_text("3")
    limit.get_by_role("button", name="Change").click()
    page.get_by_role("dialog").get_by_label("At most").fill("")
    page.get_by_role("dialog").get_by_role("button", name="Set it").click()

    expect(page.get_by_text("Any number", exact=True)).to_be_visible()
