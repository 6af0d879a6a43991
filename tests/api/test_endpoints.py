"""Runs that an SDK begins by itself: reports whose answers were lost are sent again."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

RUN = "01J00000000000000000000000"
FRIED = {"op": "StepRun", "id": "a" * 40, "name": "fry", "data": "fried"}
SLEEP = {"op": "Sleep", "id": "b" * 40, "name": "1h"}
FAILED = {"op": "StepError", "id": "b" * 40, "name": "salt", "error": {"name": "Error", "message": "no salt"}}
GO_ON = {"op": "DiscoveryRequest", "id": "c" * 40}
ENDED = {"op": "RunComplete", "id": "0737c22d3bfae812339732d14d8c7dbd6dc4e09c", "data": {"status": 200, "body": "egg"}}


def begin(client: FlaskClient, *steps: object) -> Any:
    data = {"domain": "http://localhost:5000", "path": "/egg", "method": "GET"}
    event = {"name": "inngest/http.request", "data": data}
    return client.post("/v1/checkpoint", json={"run_id": RUN, "event": event, "steps": steps})


def report(client: FlaskClient, *steps: object) -> int:
    return client.post(f"/v1/checkpoint/{RUN}/steps", json={"steps": steps}).status_code


LAST = [(FRIED, SLEEP), (FRIED, FAILED), (FRIED, GO_ON), (FRIED, ENDED)]


@pytest.mark.parametrize("steps", LAST)
def test_a_run_is_begun_by_its_only_report_however_often_that_comes(client: FlaskClient, steps: Any) -> None:
    first, again = begin(client, *steps), begin(client, *steps)

    assert (200, 200) == (first.status_code, again.status_code), again.get_json()
    given = [{**it.get_json()["data"], "token": "", "realtime_token": ""} for it in (first, again)]
    assert given[0] == given[1]
    assert again.get_json()["data"]["token"]


@pytest.mark.parametrize("steps", LAST)
def test_the_last_report_may_come_again(client: FlaskClient, steps: Any) -> None:
    assert 200 == begin(client, FRIED).status_code

    assert [200, 200] == [report(client, *steps), report(client, *steps)]


@pytest.mark.parametrize(
    "late",
    [
        (FRIED,),
        ({**FRIED, "id": "d" * 40}, SLEEP),
        ({**FRIED, "id": "b" * 40}, GO_ON),
        (FRIED, {**SLEEP, "id": "d" * 40}),
        (FRIED, ENDED),
    ],
)
def test_news_of_a_run_that_was_left_to_the_server_are_refused(client: FlaskClient, late: Any) -> None:
    assert 200 == begin(client, FRIED, SLEEP).status_code

    assert 409 == report(client, *late)


def test_another_end_than_the_one_that_was_taken_is_refused(client: FlaskClient) -> None:
    assert 200 == begin(client, FRIED, ENDED).status_code

    assert 409 == report(client, {**ENDED, "data": {"status": 200, "body": "ham"}})
