"""Running again from a step with another input, where that can be told: in process, and on the TypeScript SDK."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from orchestrator.engine.declare import declare
from orchestrator.sdk.context import Context
from orchestrator.sdk.function import APPS, Registry
from orchestrator.sdk.options import Options
from orchestrator.sdk.triggers import Event
from tests.browser.conftest import Open
from tests.browser.shop import Shop
from tests.browser.test_again import at_another_run
from tests.wire.harness import Embedded, Server
from tests.wire_js.conftest import make_app as make_app
from tests.wire_js.conftest import node as node
from tests.wire_js.harness import NodeApp


def charge(ctx: Context) -> object:
    """A function whose step has arguments."""
    return ctx.step.run("charge the card", lambda amount, how: {"amount": amount, "how": how}, 7, "card")


@pytest.fixture(scope="module")
def till(server: Embedded) -> Iterator[None]:
    """An app in the process of the server."""
    registry = Registry("till")
    registry.add(charge, Event("till/charged"), name="Charge a card", options=Options(retries=0))
    APPS["till"] = registry
    declare(server.embedded.parts, registry, "1")
    yield
    APPS.pop("till")


def asked_again(page: Page, step: str) -> Page:
    """Open the dialog that runs again from a step."""
    page.get_by_role("link", name=re.compile(step)).click()
    page.get_by_role("button", name="Run again from here").click()
    return page


def sent(page: Page, run_id: str) -> str:
    """Send the dialog; the new run's id."""
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: at_another_run(url, run_id))
    return page.url[-26:]


def test_in_process_a_step_gets_the_input_that_was_edited(server: Server, till: None, open_page: Open) -> None:
    run_id = server.ended(server.send("till/charged"))["run_id"]
    page = asked_again(open_page(f"{server.url}/runs/{run_id}"), "charge the card")

    expect(page.get_by_role("textbox", name="Input")).to_have_value('[7,"card"]')
    page.get_by_role("textbox", name="Input").fill('[8, "invoice"]')
    again = sent(page, run_id)

    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    assert {"amount": 8, "how": "invoice"} == server.run(again)["output"]
    expect(page.locator("#detail")).to_contain_text("invoice")
    page.locator(".linked").get_by_role("link", name=run_id).click()
    page.wait_for_url(f"**/runs/{run_id}")
    page.locator(".linked").get_by_role("link", name=again).click()
    page.wait_for_url(f"**/runs/{again}")


def test_an_input_that_is_left_as_it_was_is_no_other_one(server: Server, till: None, open_page: Open) -> None:
    run_id = server.ended(server.send("till/charged"))["run_id"]
    page = asked_again(open_page(f"{server.url}/runs/{run_id}"), "charge the card")

    again = server.run_ended(sent(page, run_id))

    assert {"amount": 7, "how": "card"} == again["output"]
    assert [False] == [it["data"]["input"] for it in again["history"] if it["kind"] == "rerun of"]


def test_an_input_that_is_no_json_is_told_before_it_is_sent(server: Server, till: None, open_page: Open) -> None:
    run_id = server.ended(server.send("till/charged"))["run_id"]
    page = asked_again(open_page(f"{server.url}/runs/{run_id}"), "charge the card")
    field = page.get_by_role("textbox", name="Input")

    field.fill("[1, 2")
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill('{"amount": 8}')
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()

    expect(page.get_by_role("alert")).to_contain_text("must be an array of the step's arguments")


def test_on_the_typescript_sdk_a_step_gets_the_input_that_was_edited(
    server: Server, make_app: Callable[..., NodeApp], open_page: Open
) -> None:
    app = make_app(checkpointing=False)
    run_id = server.ended(app.send("order"))["run_id"]
    page = asked_again(open_page(f"{server.url}/runs/{run_id}"), "pay")

    expect(page.get_by_role("textbox", name="Input")).to_have_value('[7,"card"]')
    page.get_by_role("textbox", name="Input").fill('[9007199254740993, {"by": "invoice"}]')
    again = server.run_ended(sent(page, run_id))

    assert "Completed" == again["status"]
    assert {"by": "invoice"} == again["output"]["paid"]["how"]


def test_where_the_sdk_cannot_be_told_there_is_no_field_for_it(server: Server, shop: Shop, open_page: Open) -> None:
    page = asked_again(open_page(f"{server.url}/runs/{shop.runs['failed']}"), "print label")

    expect(page.get_by_role("dialog")).to_contain_text("the same input as before")
    assert 0 == page.get_by_role("dialog").locator("textarea").count()
