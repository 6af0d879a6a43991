"""What holds for every page: for people who do not see, on small screens, in the dark, and against attacks."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import NARROW, SHOTS, WIDE, Open
from tests.browser.pages import PAGES
from tests.browser.shop import Shop
from tests.wire.harness import Server

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
_RULES = '{runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}'
WAYS = {
    "light-wide": ("light", WIDE),
    "dark-wide": ("dark", WIDE),
    "light-narrow": ("light", NARROW),
    "dark-narrow": ("dark", NARROW),
}
#: Colours differ by scheme, and what is there by size: two ways show both.
LOOKED_AT = ("light-wide", "dark-narrow")

each_page = pytest.mark.parametrize("name", PAGES)


def faults(page: Page) -> list[str]:
    """What axe finds wrong with a page as it is now."""
    # Playwright's way in is not bound by the policy of the page.
    page.evaluate("window.axe === undefined") and page.evaluate(AXE.read_text())
    found = page.evaluate(f"axe.run(document, {_RULES})")
    return [
        f"{it['id']}: {node['target']} {node['failureSummary']}" for it in found["violations"] for node in it["nodes"]
    ]


@each_page
def test_a_page_is_fit_for_everybody_and_nothing_that_came_from_outside_runs(
    server: Server, shop: Shop, open_page: Open, name: str
) -> None:
    page = open_page(server.url + PAGES[name](shop))
    SHOTS.mkdir(exist_ok=True)

    found = dict[str, list[str]]()
    for way, (scheme, size) in WAYS.items():
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.screenshot(path=SHOTS / f"{name}-{way}.png")
        if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            found[way] = ["it is wider than the screen"]
        if way in LOOKED_AT:
            found[way] = [*found.get(way, ()), *faults(page)]

    assert {} == {way: said for way, said in found.items() if said}
    assert page.evaluate("window.attacked === undefined")
    assert 0 == page.locator("img, main script").count()


def test_an_attack_is_shown_as_it_was_written(server: Server, shop: Shop, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{shop.runs['attacked']}")

    text = page.locator("main").inner_text()

    assert 4 <= text.count("<img src=x onerror=")
    assert "<svg/onload=window.attacked=1>" in page.title()


@pytest.mark.parametrize(
    "path",
    [
        "/runs?q=%3Cscript%3Ewindow.attacked=1%3C/script%3E",
        "/runs?function=%22%3E%3Cscript%3Ewindow.attacked=1%3C/script%3E",
        "/runs?event=%3Csvg/onload=window.attacked=1%3E&from=%3Cb%3E",
        "/runs/%3Cscript%3Ewindow.attacked=1%3C%2Fscript%3E",
        "/%3Cscript%3Ewindow.attacked=1%3C%2Fscript%3E",
        "/login?next=javascript:window.attacked=1",
    ],
)
def test_an_attack_in_the_address_is_text(server: Server, shop: Shop, open_page: Open, path: str) -> None:
    page = open_page(server.url + path)

    assert page.evaluate("window.attacked === undefined")
    assert 0 == page.locator("main script, main svg[onload], main b").count()


def test_the_policy_keeps_a_script_in_the_page_from_running(server: Server, shop: Shop, browser) -> None:  # type: ignore[no-untyped-def]
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text))
    page.goto(server.url + "/runs")

    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.attacked = 1";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", "<p style='color: red' onclick='window.attacked = 1'>x</p>");
            document.body.lastElementChild.click();
        }"""
    )

    assert page.evaluate("window.attacked === undefined")
    assert 3 <= sum("Content Security Policy" in said for said in refused)
    page.close()
