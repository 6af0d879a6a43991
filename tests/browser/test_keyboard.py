"""Without a mouse: everything is reached, its focus is seen and stays, and dialogs keep it until they are closed."""

from __future__ import annotations

import inngest
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import WIDE, Open
from tests.browser.gates import Gate, serving
from tests.browser.pages import PAGES
from tests.browser.shop import Shop
from tests.browser.test_pages import faults
from tests.wire.harness import App, Server

each_page = pytest.mark.parametrize("name", PAGES)

#: Says what can be used on a page and is seen, and from now on keeps which of it has had the focus, and which of that
#: without drawing it, on itself or on the label around it.
_USABLE = """() => {
    const found = [...document.querySelectorAll("a[href], button, input, select, textarea, [tabindex='0']")];
    const seen = found.filter((it) => it.type !== "hidden" && !it.disabled && it.checkVisibility());
    window.reached = new Set();
    window.undrawn = new Set();
    document.addEventListener("focusin", ({target}) => {
        const at = seen.indexOf(target);
        const drawn = (it) => it && getComputedStyle(it).outlineStyle !== "none";
        window.reached.add(at);
        if (at >= 0 && ![target, target.closest("label")].some(drawn)) window.undrawn.add(at);
    });
    return seen.map((it) => `${it.tagName} ${it.ariaLabel ?? it.innerText ?? it.name}`.slice(0, 80));
}"""
#: From now on keeps what has had the focus outside a dialog; after its last field comes the browser itself.
_STRAYED = """id => {
    window.strayed = [];
    document.addEventListener("focusin", ({target}) => {
        const dialog = document.getElementById(id);
        if (dialog.open && !dialog.contains(target)) window.strayed.push(target.outerHTML.slice(0, 80));
    });
}"""


@each_page
def test_whatever_can_be_used_is_reached_by_tab_and_its_focus_is_seen(
    server: Server, shop: Shop, open_page: Open, name: str
) -> None:
    page = open_page(server.url + PAGES[name](shop))
    # What changes by itself would put others in their place.
    page.evaluate("document.querySelectorAll('[data-every]').forEach((it) => it.removeAttribute('data-every'))")
    usable = page.evaluate(_USABLE)

    for _ in range(len(usable) + 10):
        page.keyboard.press("Tab")

    reached, undrawn = page.evaluate("[[...window.reached], [...window.undrawn]]")
    assert [] == [it for at, it in enumerate(usable) if at not in reached]
    assert [] == [usable[at] for at in undrawn]


@each_page
def test_a_dialog_opens_by_enter_keeps_the_focus_and_gives_it_back_by_escape(
    server: Server, shop: Shop, open_page: Open, name: str
) -> None:
    page = open_page(server.url + PAGES[name](shop))
    openers = page.locator("main [data-opens], .side [data-opens]")
    # It is the same on every page.
    seen = set() if name == "runs" else {"shortcuts"}

    for at in range(openers.count()):
        opener = openers.nth(at)
        dialog_id = str(opener.get_attribute("data-opens"))
        if dialog_id in seen or not opener.is_visible():
            continue
        seen.add(dialog_id)
        opener.focus()
        page.keyboard.press("Enter")
        dialog = page.locator(f"dialog#{dialog_id}")
        expect(dialog).to_be_visible()
        page.evaluate(_STRAYED, dialog_id)
        for _ in range(12):
            page.keyboard.press("Tab")
        assert [] == page.evaluate("window.strayed"), dialog_id
        assert [] == faults(page), dialog_id
        page.keyboard.press("Escape")
        expect(dialog).not_to_be_visible()
        assert opener.evaluate("it => it === document.activeElement"), dialog_id

    assert "shortcuts" in seen


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def test_the_focus_stays_while_a_list_changes_under_it(server: Server, shop: Shop, open_page: Open) -> None:
    for order in (1, 2):
        server.ended(server.send("shop/order.billed", {"order": order, "keys": True}))
    page = open_page(f"{server.url}/runs?function=shop-bill&span=1h")
    page.keyboard.press("j")
    page.keyboard.press("j")
    before = page.evaluate("document.activeElement.href")
    first = page.locator("#runs a.row").first.get_attribute("href")

    server.ended(server.send("shop/order.billed", {"order": 3, "keys": True}))
    expect(page.locator("#runs a.row").first).not_to_have_attribute("href", str(first))

    assert before == page.evaluate("document.activeElement.href")
    page.keyboard.press("Enter")
    page.wait_for_url(before)


def test_the_focus_stays_on_an_action_while_the_run_goes_on_and_enter_does_it(server: Server, open_page: Open) -> None:
    gates = [Gate(), Gate()]

    def declare(app: App) -> list[inngest.Function]:
        @app.function("walk", "steadily/begun", name="Walk")
        def walk(ctx: inngest.ContextSync) -> None:
            ctx.step.run("first leg", gates[0].pass_)
            ctx.step.run("second leg", gates[1].pass_)

        return [walk]

    with serving(server, "steadily", declare):
        [run] = server.runs_of(server.send("steadily/begun"))
        page = open_page(f"{server.url}/runs/{run['run_id']}", size=WIDE)
        for _ in range(40):
            page.keyboard.press("Tab")
            if focused(page) == "Cancel":
                break
        assert "Cancel" == focused(page)

        gates[0].open()
        expect(page.get_by_role("link", name="first leg")).to_be_visible()

        assert "Cancel" == focused(page)
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Cancel this run?")
        expect(dialog).to_be_visible()
        page.keyboard.press("Tab")
        assert "Cancel the run" == focused(page)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("Cancelled")
        gates[1].open()


def test_runs_are_chosen_and_run_again_by_the_keyboard_alone(server: Server, shop: Shop, open_page: Open) -> None:
    run_id = server.ended(server.send("shop/order.billed", {"order": 61}))["run_id"]
    page = open_page(f"{server.url}/runs?function=shop-bill&q=event.data.order%3D%3D61")

    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator(".picked")).to_contain_text("1 chosen")
    for _ in range(8):
        page.keyboard.press("Shift+Tab")
        if focused(page) == "Run them again":
            break
    assert "Run them again" == focused(page)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/runs/" in url and run_id not in url)

    expect(page.locator(".linked").get_by_role("link", name=run_id)).to_be_visible()


def test_a_part_of_the_timeline_is_looked_at_without_a_mouse(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{shop.runs['completed']}")

    page.get_by_role("link", name="let the dust settle").press("Enter")
    page.get_by_role("link", name="Zoom to it").press("Enter")
    page.wait_for_url("**zoom=**")

    track = page.locator("li.span.at .track").bounding_box()
    bar = page.locator("li.span.at rect.bar-sleep").bounding_box()
    assert track
    assert bar
    assert bar["width"] > 0.95 * track["width"]
