"""A real browser before a real server with real runs.

The browser is Debian's Chromium, or what TEST_CHROMIUM names.  Without it these tests are skipped with the reason; with
CI=true they fail.  Each page that a test opens fails it for whatever the browser complains of: a script that failed, or
something that the page's own policy forbade.  Screenshots go to tests/browser/shots, which is not kept.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.shop import Shop, opened
from tests.wire.harness import Embedded, Server

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SHOTS = Path(__file__).parent / "shots"
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}

#: Milliseconds that something may take to appear, on a machine that is busy.
PATIENCE = 30_000
expect.set_options(timeout=PATIENCE)

#: Opens a browser's window of a size, in a colour scheme.
Open = Callable[..., Page]


def _chromium() -> str:
    """Where the browser is; skips the test when there is none, or fails it where CI=true."""
    found = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found:
        return found
    reason = "a browser is needed: apt-get install chromium, or set TEST_CHROMIUM"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Not of the session: while Playwright is there, this thread counts as one whose event loop runs, for all tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    _chromium()
    server = Embedded(retry_interval="1s")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shop(server: Server) -> Iterator[Shop]:
    """The shop with its runs; tests look at them and change only what they make themselves."""
    shop = opened(server)
    yield shop
    shop.app.stop()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(url: str, *, size: dict[str, int] = WIDE, scheme: str = "light") -> Page:
        context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: complaints.append(f"asked elsewhere: {asked.url}") if _elsewhere(asked.url, url) else None,
        )
        page.goto(url)
        page.wait_for_load_state("networkidle")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [] == [it for it in complaints if "status of 4" not in it]


def _elsewhere(asked: str, url: str) -> list[str]:
    """A complaint where a page asks another server than ours."""
    origin = "/".join(url.split("/")[:3]) + "/"
    return [] if asked.startswith((origin, "data:")) else [f"asked elsewhere: {asked}"]
