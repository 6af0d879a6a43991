"""The overview: charts of runs that really were, failures that are alike, and running a group of them again."""

from __future__ import annotations

import re
from collections.abc import Iterator

import inngest
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import NARROW, SHOTS, Open
from tests.browser.shop import ATTACK
from tests.browser.test_pages import faults
from tests.wire.harness import App, Embedded, Server

#: How many failures of a group there are.
GONE = 3
#: Colours of a chart's pixels that are not the ground's.
_PAINTED = """canvas => {
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Map();
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] < 200) continue;
        const colour = `${data[at]},${data[at + 1]},${data[at + 2]}`;
        seen.set(colour, (seen.get(colour) ?? 0) + 1);
    }
    return [...seen.values()].filter((many) => many > 40).length;
}"""


@pytest.fixture(scope="module")
def depot(server: Server) -> Iterator[App]:
    """An app that fails in two ways, and one that is hostile; the runs have ended."""
    app = App(server.url, "depot", server.keys)

    @app.function("collect", "depot/order.placed", name="Collect an order", retries=0)
    def collect(ctx: inngest.ContextSync) -> str:
        order = ctx.event.data.get("order")
        if ctx.event.data.get("gone"):
            raise LookupError(f"order {order} is not in 'shelf-{order}'")
        if ctx.event.data.get("attack"):
            raise ValueError(ATTACK)
        return "collected"

    app.serve([collect])
    for number in range(GONE):
        server.ended(server.send("depot/order.placed", {"order": 4000 + number, "gone": True}))
    server.ended(server.send("depot/order.placed", {"attack": True}))
    server.ended(server.send("depot/order.placed", {"order": 1}))
    yield app
    app.stop()


def test_charts_are_drawn_from_real_runs_and_say_the_same_as_their_tables(
    server: Server, depot: App, open_page: Open
) -> None:
    page = open_page(f"{server.url}/overview?span=1h")
    chart = page.locator("[data-chart]").filter(has=page.get_by_role("heading", name="Runs that ended"))

    expect(chart.locator("canvas")).to_be_visible()
    chart.get_by_text("As a table").click()
    failed = chart.locator("tbody tr td:last-child").all_inner_texts()

    assert GONE + 1 <= sum(map(int, failed))
    assert 2 <= chart.locator("canvas").evaluate(_PAINTED)
    assert page.locator("[data-chart]").count() == page.locator("[data-chart] canvas").count()
    # Its script sets styles one by one, as the policy of the page allows.
    assert "absolute" == page.locator(".u-over").first.evaluate("it => getComputedStyle(it).position")
    assert 100 < page.locator(".u-over").first.evaluate("it => it.getBoundingClientRect().width")


def test_pointing_at_a_chart_tells_the_numbers_of_that_moment(server: Server, depot: App, open_page: Open) -> None:
    page = open_page(f"{server.url}/overview?span=1h")
    chart = page.locator("[data-chart]").filter(has=page.get_by_role("heading", name="New runs"))
    chart.locator("canvas").scroll_into_view_if_needed()
    box = chart.locator(".u-over").bounding_box()
    assert box is not None

    page.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + box["height"] / 2)

    expect(chart.locator(".legend .at")).to_have_text(re.compile(r"^\d\d:\d\d$"))
    expect(chart.locator(".legend .value")).to_have_text(re.compile(r"^\d+$"))


def test_charts_follow_the_theme_and_the_size_of_the_window(server: Server, depot: App, open_page: Open) -> None:
    page = open_page(f"{server.url}/overview?span=1h")
    canvas = page.locator("[data-chart] canvas").first
    expect(canvas).to_be_visible()
    shown = canvas.evaluate("it => it.toDataURL()")

    page.get_by_role("button", name="Light or dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.wait_for_function("shown => document.querySelector('[data-chart] canvas').toDataURL() !== shown", arg=shown)
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]

    page.wait_for_function("() => document.querySelector('[data-chart] .uplot').getBoundingClientRect().width < 380")


def test_failures_that_are_alike_are_shown_once_with_their_traceback(
    server: Server, depot: App, open_page: Open
) -> None:
    page = open_page(f"{server.url}/overview?span=1h")
    gone = page.locator(".failures li").filter(has_text="is not in 'shelf-")

    expect(gone).to_have_count(1)
    expect(gone.locator(".many")).to_contain_text(str(GONE))
    expect(gone).to_contain_text("LookupError")
    expect(gone.get_by_role("link", name="Collect an order")).to_be_visible()
    gone.get_by_text("Traceback of the latest").click()
    expect(gone.locator(".trace")).to_contain_text("in collect")
    gone.get_by_role("link", name="Its runs").click()
    page.wait_for_url(re.compile("failure="))

    expect(page.locator("#runs a.row")).to_have_count(GONE)
    expect(page.locator("#runs .pager")).to_contain_text(f"{GONE} of {GONE} runs")


def test_what_is_open_stays_open_when_the_page_renews_itself(server: Server, depot: App, open_page: Open) -> None:
    page = open_page(f"{server.url}/overview?span=1h")
    gone = page.locator(".failures li").filter(has_text="is not in 'shelf-")
    gone.get_by_text("Traceback of the latest").click()
    before = page.locator(".tiles .big").first.inner_text()

    server.ended(server.send("depot/order.placed", {"order": 2}))

    expect(page.locator(".tiles .big").first).not_to_have_text(before)
    expect(gone.locator(".trace")).to_be_visible()
    assert page.locator("[data-chart]").count() == page.locator("[data-chart] canvas").count()


def test_a_group_is_run_again_after_it_was_counted_and_only_it(server: Server, depot: App, open_page: Open) -> None:
    page = open_page(f"{server.url}/overview?span=1h")
    gone = page.locator(".failures li").filter(has_text="is not in 'shelf-")
    many = int(re.sub(r"\D", "", gone.locator(".many").inner_text()))

    gone.get_by_role("link", name="Run these again").click()
    again = page.locator("section").filter(has=page.get_by_role("heading", name="Run again"))
    expect(again.locator(".big")).to_have_text(str(many))
    again.get_by_role("button", name=f"Run again: {many}").click()
    page.wait_for_url("**/orders/*")

    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    expect(page.locator(".big")).to_contain_text(f"{many} of {many}")
    page.goto(f"{server.url}/overview?span=1h")
    expect(gone.locator(".many")).to_contain_text(str(2 * many), timeout=60_000)


def test_an_attack_in_an_error_is_shown_as_it_was_written(server: Server, depot: App, open_page: Open) -> None:
    page = open_page(f"{server.url}/overview?span=1h")
    hostile = page.locator(".failures li").filter(has_text="Collect an order").filter(has_text="<img src=x onerror=")

    expect(hostile.first).to_be_attached()
    assert page.evaluate("window.attacked === undefined")
    assert 0 == page.locator("main img, main script").count()


def test_the_whole_page_is_photographed(server: Server, depot: App, open_page: Open) -> None:
    """For people to look at: the pictures of all pages show what is seen without scrolling."""
    page = open_page(f"{server.url}/overview?span=1h")
    expect(page.locator("[data-chart] canvas").first).to_be_visible()
    SHOTS.mkdir(exist_ok=True)

    page.screenshot(path=SHOTS / "overview-whole-light.png", full_page=True)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    page.screenshot(path=SHOTS / "overview-whole-dark-narrow.png", full_page=True)

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_fresh_server_says_what_to_do_next(browser: Browser, open_page: Open) -> None:
    server = Embedded()
    try:
        page = open_page(server.url)
        expect(page.get_by_text("Welcome")).to_be_visible()
        expect(page.locator("pre")).to_contain_text("orchestrator sync http://")
        page.screenshot(path=SHOTS / "overview-fresh.png")

        assert page.url.endswith("/overview")
        assert [] == faults(page)
    finally:
        server.stop()
