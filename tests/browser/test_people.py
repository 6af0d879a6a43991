"""Production: people sign in, and see and do what their role lets them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from orchestrator.core.role import Role
from orchestrator.engine.users import add_user
from tests.browser.conftest import SHOTS, Open
from tests.browser.shop import opened
from tests.browser.test_pages import faults
from tests.wire.harness import Embedded, Keys

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def production(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    keys = Keys()
    state: Path = tmp_path_factory.mktemp("state")
    server = Embedded(
        mode="start",
        host="127.0.0.1",
        state_dir=state,
        event_keys=keys.event,
        signing_key=keys.signing,
        allowed_networks="127.0.0.1/32",
        retry_interval="1s",
    )
    server.keys = keys
    for role in Role:
        add_user(server.embedded.parts.database, f"the-{role.value}", role, PASSWORD, datetime.now(UTC))
    yield server
    server.stop()


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_the_login_leads_to_the_page_that_was_asked_for(production: Embedded, open_page: Open) -> None:
    page = open_page(f"{production.url}/runs?status=failed")

    page.screenshot(path=SHOTS / "login.png")
    assert [] == faults(page)
    sign_in(page, "the-viewer", "wrong horse battery")
    expect(page.get_by_role("alert")).to_contain_text("Name or password is wrong")
    sign_in(page, "the-viewer")
    page.wait_for_url("**/runs?status=failed")
    expect(page.get_by_role("link", name="the-viewer")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    page.goto(f"{production.url}/runs")

    assert "/login" in page.url


def test_a_viewer_sees_runs_and_no_way_to_change_them_and_an_operator_cancels(
    production: Embedded, open_page: Open
) -> None:
    shop = opened(production)
    viewer, operator = (open_page(f"{production.url}/runs/{shop.runs['asleep']}") for _ in range(2))
    sign_in(viewer, "the-viewer")
    sign_in(operator, "the-operator")

    expect(viewer.get_by_role("heading", level=1)).to_contain_text("Running")
    assert 0 == viewer.get_by_role("button", name="Cancel").count()
    assert 0 == viewer.get_by_role("link", name="Users").count()
    operator.get_by_role("button", name="Cancel").click()
    operator.get_by_role("button", name="Cancel the run").click()

    expect(operator.get_by_role("heading", level=1)).to_contain_text("Cancelled")
    expect(viewer.get_by_role("heading", level=1)).to_contain_text("Cancelled")
    admin = open_page(f"{production.url}/users")
    sign_in(admin, "the-admin")
    expect(admin.get_by_role("row").filter(has_text="run cancelled")).to_contain_text("the-operator")
    shop.app.stop()


def test_an_admin_lets_somebody_in_changes_their_role_and_removes_them(production: Embedded, open_page: Open) -> None:
    page = open_page(f"{production.url}/users")
    sign_in(page, "the-admin")

    page.get_by_role("button", name="New user").click()
    dialog = page.get_by_role("dialog", name="New user")
    dialog.get_by_label("Name").fill("eve")
    dialog.get_by_label("Role").select_option("viewer")
    dialog.get_by_label("Password").fill(PASSWORD)
    page.screenshot(path=SHOTS / "users-new.png")
    assert [] == faults(page)
    dialog.get_by_role("button", name="Let them in").click()
    expect(page.get_by_role("status")).to_contain_text("eve may sign in as viewer")
    page.get_by_label("Role of eve").select_option("operator")
    expect(page.get_by_role("status")).to_contain_text("eve is operator now")
    hers = open_page(f"{production.url}/runs")
    sign_in(hers, "eve")
    hers.wait_for_url("**/runs")
    page.get_by_role("row", name="eve").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("dialog", name="Remove eve?")).to_be_visible()
    page.get_by_role("dialog", name="Remove eve?").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status")).to_contain_text("eve is removed")

    hers.reload()
    assert "/login" in hers.url
