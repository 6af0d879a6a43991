"""The pages of runs as requests see them: filters, pages, what is live, and what is refused."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from orchestrator.api.app import create_app
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.core.effect import Record, SaveStep, Status, StepStatus
from orchestrator.ids import ulid_at
from orchestrator.store import audit, functions, reruns, runs

if TYPE_CHECKING:
    from tests.api.conftest import World

ID = "01J00000000000000000000000"


@pytest.fixture
def browser(world: World) -> FlaskClient:
    world.app(slugs=["shop-bill", "shop-ship"])
    return create_app(world.parts, doors=Doors(login=False)).test_client()


def shown(browser: FlaskClient, query: str = "") -> list[str]:
    answer = browser.get(f"/runs{query}")
    assert 200 == answer.status_code, answer.text
    return re.findall(r'<tr id="run-(\w+)"', answer.text)


def test_the_list_shows_what_the_address_asks_for(browser: FlaskClient, world: World) -> None:
    event, other = world.event(data='{"amount":7}'), world.event("shop/left", '{"amount":99}')
    done = world.finished(event, Status.COMPLETED, '{"sent":true}')
    live = world.run(other, "shop-ship")

    assert [live, done] == shown(browser)
    assert [done] == shown(browser, "?status=completed")
    assert [live, done] == shown(browser, "?status=completed&status=running")
    assert [live] == shown(browser, "?function=shop-ship")
    assert [] == shown(browser, "?function=shop-gone")
    assert [live, done] == shown(browser, "?app=shop")
    assert [] == shown(browser, "?app=other")
    assert [live] == shown(browser, "?event=shop/left")
    assert [live] == shown(browser, "?q=event.data.amount%20%3E%2010")
    assert [done] == shown(browser, "?q=output.sent")
    assert [live, done] == shown(browser, "?span=1h")
    assert [] == shown(browser, "?from=2027-01-01")
    assert [live, done] == shown(browser, "?from=2026-01-01T00:00&until=2027-01-01T00:00")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("status=done", "status must be one of"),
        ("span=1y", "span must be one of"),
        ("from=yesterday", "from must be a time"),
        ("until=%00", "until must be a time"),
        ("q=" + "x" * 5000, "q must have at most 4000 characters"),
        ("q=event.data.amount+%3E", ""),
        ("after=nonsense", "cursor"),
    ],
)
def test_what_cannot_be_asked_for_is_told(browser: FlaskClient, query: str, said: str) -> None:
    answer = browser.get(f"/runs?{query}")

    assert 400 == answer.status_code
    assert said in answer.text.lower() if said.islower() else said.lower() in answer.text.lower()


def test_older_runs_are_a_page_away(browser: FlaskClient, world: World) -> None:
    events = [world.event() for _ in range(60)]
    made = [world.run(event) for event in events]

    first = browser.get("/runs")
    following = re.search(r'href="(/runs\?after=[^"]+)" rel="next"', first.text)
    assert following
    second = shown(browser, following[1].removeprefix("/runs"))

    assert made[:9:-1] == shown(browser)
    assert made[9::-1] == second


def test_a_list_that_did_not_change_is_not_sent_again(browser: FlaskClient, world: World) -> None:
    run_id = world.run(world.event())
    poll = _poll(browser.get("/runs").text)

    before = browser.get(poll)
    with world.parts.database.write() as conn:
        runs.finish(conn, run_id, Status.COMPLETED, None, None, world.clock.now())
    after = browser.get(poll)

    assert (204, b"") == (before.status_code, before.data)
    assert (200, 204) == (after.status_code, browser.get(_poll(after.text)).status_code)


def test_a_run_that_did_not_change_is_not_sent_again(browser: FlaskClient, world: World) -> None:
    run_id = world.run(world.event())
    poll = _poll(browser.get(f"/runs/{run_id}").text)

    assert 204 == browser.get(poll).status_code
    for change in (
        lambda: world.steps(run_id, SaveStep("a", "a", "StepRun", StepStatus.COMPLETED, memo='{"data":1}')),
        lambda: world.history(run_id, Record("attempt failed", None, 0, '{"error":{"message":"m"}}')),
        lambda: world.clock.advance(timedelta(seconds=15)),
    ):
        change()
        changed = browser.get(poll)
        assert 200 == changed.status_code
        poll = _poll(changed.text)
        assert 204 == browser.get(poll).status_code


def test_what_is_out_of_service_is_found_by_its_runs_all_the_same(browser: FlaskClient, world: World) -> None:
    app_id = world.app(slugs=["shop-bill"])
    run_id = world.run(world.event())
    with world.parts.database.write() as conn:
        functions.archive_app(conn, app_id, world.clock.now())
    world.clock.advance(timedelta(seconds=1))

    for query in ("function=shop-bill", "app=shop", "function=shop-bill&app=shop"):
        assert f'id="run-{run_id}"' in browser.get(f"/runs?{query}").text
    assert "Cancel: 1" in browser.get("/runs/bulk?function=shop-bill").text
    assert "No run matches" in browser.get("/runs?function=shop-other").text


def test_nothing_lasts_less_than_no_time_where_another_clock_is_ahead(browser: FlaskClient, world: World) -> None:
    run_id = world.run(world.event())
    world.clock.advance(timedelta(seconds=-3))

    bars = re.findall(r"<title>(\w+: [^<]+)</title>", browser.get(f"/runs/{run_id}").text)

    assert ["running: 0 ms"] == bars


def test_what_failed_in_a_step_that_is_not_shown_is_not_blamed_on_the_function(
    browser: FlaskClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.api.dashboard.run.MOST_STEPS", 1)
    run_id = world.finished(world.event(), Status.FAILED, error=(error := '{"name":"E","message":"boom"}'))
    world.steps(run_id, SaveStep("a", "a", "StepRun", StepStatus.COMPLETED, memo='{"data":1}'))
    alone = browser.get(f"/runs/{run_id}").text
    world.steps(run_id, SaveStep("b", "b", "StepRun", StepStatus.FAILED, memo=f'{{"error":{error}}}'))

    with_more = browser.get(f"/runs/{run_id}").text

    assert "outside of any step." in alone
    assert "outside of any step, or in one that is not shown." in with_more


def test_a_run_that_is_over_is_not_asked_after(browser: FlaskClient, world: World) -> None:
    run_id = world.finished(world.event(), Status.COMPLETED, "1")

    assert "data-every" not in browser.get(f"/runs/{run_id}").text


def test_a_large_output_is_cut_on_the_page_and_whole_a_link_away(browser: FlaskClient, world: World) -> None:
    output = '["' + "x" * 100_000 + '"]'
    run_id = world.finished(world.event(), Status.COMPLETED, output)

    page = browser.get(f"/runs/{run_id}")
    link = re.search(r'href="(/runs/\w+/raw[^"]+part=output)"', page.text)
    assert link
    raw = browser.get(link[1].replace("&amp;", "&"))

    assert len(page.data) < 90_000
    assert (output, "text/plain; charset=utf-8") == (raw.text, raw.content_type)
    assert "nosniff" == raw.headers["X-Content-Type-Options"]


@pytest.mark.parametrize("path", [f"/runs/{ID}", f"/runs/{ID}/live", f"/runs/{ID}/raw"])
def test_a_run_that_is_not_there_is_told(browser: FlaskClient, path: str) -> None:
    assert 404 == browser.get(path).status_code


@pytest.mark.parametrize("run_id", ["nonsense", "x" * 300, "%00", "..%2f"])
def test_an_id_that_is_none_is_told(browser: FlaskClient, run_id: str) -> None:
    assert browser.get(f"/runs/{run_id}").status_code in (400, 404)


@pytest.mark.parametrize("zoom", ["1", "2-1", "a-b", "9" * 30 + "-" + "9" * 31, "1-1"])
def test_a_zoom_that_is_none_is_told(browser: FlaskClient, world: World, zoom: str) -> None:
    run_id = world.run(world.event())

    assert 400 == browser.get(f"/runs/{run_id}?zoom={zoom}").status_code


def test_runs_that_are_chosen_are_cancelled_and_that_is_noted(browser: FlaskClient, world: World) -> None:
    event = world.event()
    live, over = world.run(event), world.finished(world.event(), Status.COMPLETED)

    answer = browser.post("/runs/cancel", data={"run": [live, over], "here": "/runs?status=running"})

    assert (303, "/runs?status=running") == (answer.status_code, answer.headers["Location"])
    assert "Cancelled 1 run; 1 had ended before" in browser.get("/runs").text
    assert "Cancelled 1 run" not in browser.get("/runs").text
    with world.parts.database.read() as conn:
        assert Status.CANCELLED is runs.get(conn, live).status  # type: ignore[union-attr]
        assert ["run cancelled"] == [action for action, _ in audit.actions_on(conn, live)]


@pytest.mark.parametrize(
    "here", ["/runs?q=a\r\nSet-Cookie: b=c", "https://evil.example/runs?", "//evil.example", "/runsx"]
)
def test_after_an_action_one_comes_to_the_list_whatever_the_form_says(
    browser: FlaskClient, world: World, here: str
) -> None:
    answer = browser.post("/runs/cancel", data={"run": [world.run(world.event())], "here": here})

    assert (303, "/runs") == (answer.status_code, answer.headers["Location"])


def test_a_chosen_run_that_is_gone_does_not_keep_the_others_from_being_cancelled(
    browser: FlaskClient, world: World
) -> None:
    live = world.run(world.event())

    answer = browser.post("/runs/cancel", data={"run": [ID, live]})

    assert 303 == answer.status_code
    assert "Cancelled 1 run; 1 had ended before" in browser.get("/runs").text


def test_a_chosen_run_that_cannot_be_run_again_is_told_and_keeps_no_other_from_it(
    browser: FlaskClient, world: World
) -> None:
    world.app(slugs=["shop-bill"])
    failed, orphan = world.finished(world.event(), Status.FAILED), world.run(world.event(), "shop-gone")

    answer = browser.post("/runs/rerun", data={"run": [orphan, failed]})

    assert 303 == answer.status_code
    told = browser.get(answer.headers["Location"]).text
    assert "Began 1 run anew; 1 could not be: the function" in told
    assert 'class="toast bad"' in told
    assert 409 == browser.post("/runs/rerun", data={"run": [orphan]}).status_code
    with world.parts.database.read() as conn:
        assert 1 == len(reruns.of(conn, failed))


@pytest.mark.parametrize("chosen", [[], ["x"], [ID] * 51])
def test_runs_that_cannot_be_chosen_are_told(browser: FlaskClient, chosen: list[str]) -> None:
    assert 400 == browser.post("/runs/cancel", data={"run": chosen}).status_code


def _poll(text: str) -> str:
    found = re.search(r'hx-get="([^"]+)"', text)
    assert found
    return found[1].replace("&amp;", "&")


def test_a_run_that_was_promised_a_moment_ago_is_awaited_and_an_older_one_is_not_there(
    browser: FlaskClient, world: World
) -> None:
    promised = ulid_at(int(world.clock.now().timestamp() * 1000), bytes(10))

    answer = browser.get(f"/runs/{promised}")
    asked_again = browser.get(f"/runs/{promised}", headers={"HX-Request": "true"})
    world.clock.advance(timedelta(minutes=2))

    assert (202, True) == (answer.status_code, "About to begin" in answer.text)
    assert 204 == asked_again.status_code
    assert 404 == browser.get(f"/runs/{promised}").status_code


@pytest.mark.parametrize("query", ["from=2030-01-01", "until=2001-01-01", "span=15m&status=skipped", "event=no/such"])
def test_an_empty_list_says_that_the_filter_is_why(browser: FlaskClient, world: World, query: str) -> None:
    world.finished(world.event(), Status.COMPLETED, "1")

    page = browser.get(f"/runs?{query}").text

    assert "No such runs" in page
    assert '<a class="button quiet" href="/runs">Clear</a>' in page


def test_an_input_that_the_step_had_is_no_other_one(browser: FlaskClient, world: World) -> None:
    run_id = world.finished(world.event(), Status.COMPLETED, "1")
    step = SaveStep("a" * 40, "charge", "StepRun", StepStatus.COMPLETED, memo='{"data":1}', input='[7,"card"]')
    world.steps(run_id, step)

    def again(given: str) -> int:
        return browser.post(f"/runs/{run_id}/rerun", data={"step": "a" * 40, "input": given}).status_code

    # Its app has no SDK that could be told another one.
    assert [303, 303, 409, 409, 400] == [again(it) for it in ("", '[7, "card"]', "[8]", '[7.0, "card"]', "[")]
