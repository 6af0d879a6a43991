"""The queue as people use it: a busy one tells what is in the way, and what was given up is requeued or deleted."""

from __future__ import annotations

import datetime
import os
import re
import threading
from collections.abc import Iterator
from datetime import timedelta

import inngest
import pytest
from playwright.sync_api import Browser, Locator, expect
from sqlalchemy import select

from orchestrator.engine.bury import bury
from orchestrator.store import jobs, workers
from orchestrator.store.workers import Sign
from tests.browser.conftest import SHOTS, Open
from tests.browser.shop import ATTACK, Shop
from tests.browser.test_pages import LOOKED_AT, WAYS, faults
from tests.wire.harness import DEADLINE, App, Embedded, Server, until

KEY = "event.data.customer"


class Busy:
    """A server of its own with full limits, throttles, bursts, batches, sleepers, and jobs that were given up."""

    def __init__(self) -> None:
        self.server = Embedded(retry_interval="1s")
        self.let_go = threading.Event()
        self.app = App(self.server.url, "shop", self.server.keys)
        self.app.serve(self._functions())

    def _functions(self) -> list[inngest.Function]:
        limit = [inngest.Concurrency(limit=2, key=KEY), inngest.Concurrency(limit=3, scope="env", key='"till"')]

        @self.app.function("charge", "shop/charged", name=f"Charge {ATTACK}", concurrency=limit)
        def charge(ctx: inngest.ContextSync) -> None:
            ctx.step.run("ask the bank", lambda: self.let_go.wait(DEADLINE))

        throttle = inngest.Throttle(limit=1, period=datetime.timedelta(hours=1))

        @self.app.function("newsletter", "shop/news", name="Send the newsletter", throttle=throttle)
        def newsletter(ctx: inngest.ContextSync) -> None:
            pass

        debounce = inngest.Debounce(period=datetime.timedelta(hours=1))

        @self.app.function("reindex", "shop/product.changed", name="Index products anew", debounce=debounce)
        def reindex(ctx: inngest.ContextSync) -> None:
            pass

        batch = inngest.Batch(max_size=50, timeout=datetime.timedelta(minutes=1))

        @self.app.function("report", "shop/visited", name="Report visits", batch_events=batch)
        def report(ctx: inngest.ContextSync) -> None:
            pass

        @self.app.function("remind", "shop/cart.left", name="Remind of a cart")
        def remind(ctx: inngest.ContextSync) -> None:
            ctx.step.sleep("for three days", datetime.timedelta(days=3))

        return [charge, newsletter, reindex, report, remind]

    def furnish(self) -> None:
        for number in range(9):
            self.server.send("shop/charged", {"customer": ("ada", "ben", ATTACK)[number % 3]})
        for name in ("shop/news", "shop/product.changed", "shop/visited", "shop/cart.left"):
            for _ in range(3):
                self.server.send(name)
        until(self._is_full, "full limits")
        parts, now = self.server.embedded.parts, self.server.clock.now()
        with parts.database.write() as conn:
            gone = now - timedelta(minutes=4)
            workers.give(conn, Sign("gone", "worker-2.internal", 4711, 100, "0.1.0", gone, gone))
        for _ in range(2):
            given_up(self.server, "shop/cart.left", f"it lost its worker 5 times {ATTACK}")

    def _is_full(self) -> bool:
        found = self.server.request("GET", "/v1/queue")[1]["data"]
        kinds = {it["kind"] for it in found["waits"]}
        slots = sum(it["waiting"] for it in found["waits"] if it["kind"] == "slot")
        return {"slot", "throttle", "debounce", "batch"} <= kinds and slots == 6 and found["sleeping"] == 3

    def stop(self) -> None:
        self.let_go.set()
        self.app.stop()
        self.server.stop()


BUSY_PAGES = ["/queue", "/queue/dead"]


@pytest.fixture(scope="module")
def busy(browser: Browser) -> Iterator[Busy]:
    busy = Busy()
    busy.furnish()
    yield busy
    busy.stop()


def given_up(server: Server, name: str, why: str) -> str:
    """A run of an event of tomorrow whose job was given up before it began; returns its id."""
    assert isinstance(server, Embedded)
    parts, now = server.embedded.parts, server.clock.now()
    tomorrow = now + timedelta(days=1)
    event_id = server.send(name, {"order": 1}, ts=int(tomorrow.timestamp() * 1000))
    [run] = server.runs_of(event_id)
    with parts.database.write() as conn:
        query = select(jobs.jobs.c.id).where(jobs.jobs.c.run_id == run["run_id"], jobs.jobs.c.kind == jobs.CALL)
        job_id = conn.execute(query).scalar_one()
        [lease] = jobs.lease(conn, [job_id], "lost", tomorrow + timedelta(hours=1), now + timedelta(minutes=1))
    bury(parts, lease, why)
    return str(run["run_id"])


@pytest.mark.parametrize("path", BUSY_PAGES)
def test_a_busy_queue_is_fit_for_everybody(busy: Busy, open_page: Open, path: str) -> None:
    page = open_page(busy.server.url + path)
    SHOTS.mkdir(exist_ok=True)

    found = dict[str, list[str]]()
    for way, (scheme, size) in WAYS.items():
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.screenshot(path=SHOTS / f"{path[1:].replace('/', '-')}-busy-{way}.png", full_page=True)
        if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            found[way] = ["it is wider than the screen"]
        if way in LOOKED_AT:
            found[way] = [*found.get(way, ()), *faults(page)]

    assert {} == {way: said for way, said in found.items() if said}


@pytest.mark.parametrize("path", BUSY_PAGES)
def test_nothing_runs_that_came_by_a_name_a_key_or_an_error(busy: Busy, open_page: Open, path: str) -> None:
    page = open_page(busy.server.url + path)

    assert "<img src=x onerror=" in page.locator("main").inner_text()
    assert page.evaluate("window.attacked === undefined")
    assert 0 == page.locator("main img, main script").count()


def test_it_says_why_jobs_wait_and_leads_to_who_is_in_the_way(busy: Busy, open_page: Open) -> None:
    page = open_page(busy.server.url + "/queue")
    why = page.locator("section").filter(has=page.get_by_role("heading", name="Why jobs wait"))

    expect(why).to_contain_text("at most 3 calls of all functions together")
    expect(why).to_contain_text("1 run waits: a throttle lets them begin at a pace; the next at")
    expect(why).to_contain_text("1 burst of events is debounced")
    expect(why).to_contain_text("1 batch fills")
    expect(page.get_by_text("Vanished", exact=True)).to_be_visible()
    why.locator("a[href^='/runs/']").first.click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("Running")


def test_it_tells_of_workers_present_and_gone_and_how_database_and_broker_are(busy: Busy, open_page: Open) -> None:
    page = open_page(busy.server.url + "/queue")

    def section(name: str) -> Locator:
        return page.locator("section").filter(has=page.get_by_role("heading", name=name, exact=True))

    alive, gone = (section("Workers").get_by_role("row").filter(has_text=state) for state in ("Alive", "Vanished"))
    expect(alive).to_contain_text(re.compile(r"Charge <img.*3 of 100", re.DOTALL))
    expect(alive).to_contain_text(f"process {os.getpid()}")
    expect(gone).to_contain_text("worker-2.internal")
    expect(gone).to_contain_text("went back into the queue")
    expect(section("Database")).to_contain_text("Reachable")
    expect(section("Database")).to_contain_text("sqlite 3.")
    expect(section("Broker")).to_contain_text("Everything is in one process here")


def test_an_open_page_shows_what_comes_by_itself(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/queue")
    later = page.locator(".figure", has_text="Later").locator("strong")
    before = int(later.inner_text())

    server.send("shop/cart.left", {"cart": 8})

    expect(later).to_have_text(str(before + 1))


def test_a_dead_job_is_requeued_and_its_run_goes_on_to_its_end(server: Server, shop: Shop, open_page: Open) -> None:
    run_id = given_up(server, "shop/order.billed", "it lost its worker 5 times")
    page = open_page(f"{server.url}/queue")
    row = page.get_by_role("row", name=run_id)
    expect(row).to_contain_text("it lost its worker 5 times")

    row.get_by_role("button", name="Requeue").click()
    page.get_by_role("dialog", name="Requeue job").get_by_role("button", name="Requeue it").click()

    expect(page.get_by_text("Requeued 1 job")).to_be_visible()
    expect(page.get_by_role("row", name=run_id)).to_have_count(0)
    assert "Completed" == server.run_ended(run_id)["status"]


def test_one_is_deleted_only_after_it_was_asked_and_those_chosen_are_requeued(
    server: Server, shop: Shop, open_page: Open
) -> None:
    first, second, third = (given_up(server, "shop/order.billed", f"lost, number {it}") for it in range(3))
    page = open_page(f"{server.url}/queue/dead")

    page.get_by_role("row", name=first).get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Not now").locator("visible=true").click()
    expect(page.get_by_role("row", name=first)).to_be_visible()
    page.get_by_role("row", name=first).get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_text("is deleted")).to_be_visible()
    for run_id in (second, third):
        page.get_by_role("row", name=run_id).get_by_role("checkbox").check()
    page.get_by_role("button", name="Requeue them").locator("visible=true").click()

    expect(page.get_by_text("Requeued 2 jobs")).to_be_visible()
    assert ["Failed", "Completed", "Completed"] == [server.run_ended(it)["status"] for it in (first, second, third)]


def test_many_are_requeued_at_once_and_it_is_told(server: Server, shop: Shop, open_page: Open) -> None:
    run_ids = [given_up(server, "shop/order.billed", "lost") for _ in range(2)]
    page = open_page(f"{server.url}/queue/dead")
    page.screenshot(path=SHOTS / "queue-dead-some.png")

    page.get_by_role("button", name="Requeue many").click()
    page.get_by_role("dialog", name="Requeue many").get_by_role("button", name="Requeue them").click()

    expect(page.get_by_text("Requeued 2 jobs. 0 jobs left")).to_be_visible()
    assert {"Completed"} == {server.run_ended(it)["status"] for it in run_ids}
