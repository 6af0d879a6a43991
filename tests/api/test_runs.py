"""Runs over REST: what they show, and how they are cancelled."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient

from orchestrator.core.effect import Record, SaveStep, Status, StepStatus
from orchestrator.ids import named_uuid
from orchestrator.store import history, runs

if TYPE_CHECKING:
    from tests.api.conftest import World

NOBODY = "01J00000000000000000000000"
BIG = '{"n":123456789012345678901}'


def shown(client: FlaskClient, run_id: str) -> dict[str, Any]:
    answer = client.get(f"/v1/runs/{run_id}")
    assert 200 == answer.status_code
    data: dict[str, Any] = answer.get_json()["data"]
    return data


def test_a_finished_run_is_shown_whole(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    event = world.event()
    run_id = world.finished(event, Status.COMPLETED, output='"done"')

    assert {
        "run_id": run_id,
        "run_started_at": "2026-11-21T12:00:00.123Z",
        "queued_at": "2026-11-21T12:00:00.123Z",
        "function_id": named_uuid("function", "shop-bill"),
        "function": "shop-bill",
        "function_version": 3,
        "environment_id": "00000000-0000-4000-b000-000000000000",
        "event_id": event.id,
        "event_name": "shop/sold",
        "batch_id": None,
        "original_run_id": None,
        "status": "Completed",
        "ended_at": "2026-11-21T12:00:02.123Z",
        "output": "done",
        "waiting": None,
        "waits": [],
        "steps": [],
        "history": [],
        "reruns": [],
    } == shown(client, run_id)


@pytest.mark.parametrize(
    ("status", "output", "error", "word", "wire"),
    [
        (Status.COMPLETED, "null", None, "Completed", None),
        (Status.COMPLETED, "[1]", None, "Completed", [1]),
        (Status.FAILED, None, '{"name":"E","message":"m"}', "Failed", {"name": "E", "message": "m"}),
        (Status.CANCELLED, None, None, "Cancelled", {}),
    ],
)
def test_the_output_of_a_run_is_its_outcome(
    client: FlaskClient, world: World, status: Status, output: str, error: str, word: str, wire: object
) -> None:
    run_id = world.finished(world.event(), status, output, error)

    run = shown(client, run_id)

    assert (word, wire) == (run["status"], run["output"])


def test_a_live_run_has_no_output_and_no_end(client: FlaskClient, world: World) -> None:
    run = shown(client, world.run(world.event()))

    assert ("Running", None, None, None) == (run["status"], run["output"], run["ended_at"], run["waiting"])


def test_steps_show_their_outcomes(client: FlaskClient, world: World) -> None:
    run_id = world.run(world.event())
    world.steps(
        run_id,
        SaveStep("a", "charge", "StepRun", StepStatus.COMPLETED, memo=f'{{"data":{BIG}}}', attempts=2),
        SaveStep("b", "mail", "StepError", StepStatus.FAILED, '{"error":{"name":"E"}}', '{"name":"E"}', 5),
        SaveStep("c", "paid", "WaitForEvent", StepStatus.COMPLETED, memo='{"data":{"x":1},"name":"paid","ts":1}'),
        SaveStep("d", "unpaid", "WaitForEvent", StepStatus.COMPLETED, memo="null"),
        SaveStep("e", "rest", "Sleep", StepStatus.COMPLETED, memo="null"),
        SaveStep("f", "again", "StepError", StepStatus.RETRYING, error='{"name":"F"}', attempts=1),
    )

    shapes = shown(client, run_id)["steps"]

    assert [
        ("charge", "StepRun", "Completed", 2, {"n": 123456789012345678901}, None),
        ("mail", "StepError", "Failed", 5, None, {"name": "E"}),
        ("paid", "WaitForEvent", "Completed", 0, {"data": {"x": 1}, "name": "paid", "ts": 1}, None),
        ("unpaid", "WaitForEvent", "Completed", 0, None, None),
        ("rest", "Sleep", "Completed", 0, None, None),
        ("again", "StepError", "Retrying", 1, None, {"name": "F"}),
    ] == [(s["name"], s["op"], s["status"], s["attempts"], s["output"], s["error"]) for s in shapes]
    assert "wake_at" not in shapes[0]


def test_a_sleeping_step_shows_when_it_wakes_and_that_the_run_waits_for_it(client: FlaskClient, world: World) -> None:
    run_id = world.run(world.event())
    wake_at = world.clock.now() + timedelta(days=3)
    world.steps(run_id, SaveStep("a", "rest", "Sleep", StepStatus.SLEEPING, wake_at=wake_at))

    run = shown(client, run_id)

    assert ("Sleeping", "2026-11-24T12:00:00.123Z") == (run["steps"][0]["status"], run["steps"][0]["wake_at"])
    assert 'step "rest" sleeps until 2026-11-24T12:00:00.123Z' == run["waiting"]


def failed_attempt(world: World, step_id: str | None, attempt: int, after: timedelta, error: str = "E") -> Record:
    at = (world.clock.now() + after).isoformat()
    return Record("attempt failed", step_id, attempt, f'{{"error":{{"name":"{error}"}},"next_at":"{at}"}}')


def test_a_run_tells_when_it_is_tried_again(client: FlaskClient, world: World) -> None:
    run_id = world.run(world.event())
    world.steps(run_id, SaveStep("a", "mail", "StepError", StepStatus.RETRYING, error='{"name":"E"}'))
    world.history(
        run_id,
        failed_attempt(world, "a", 0, timedelta(seconds=-9)),
        failed_attempt(world, "a", 1, timedelta(seconds=30)),
        failed_attempt(world, None, 0, timedelta(seconds=60)),
    )

    run = shown(client, run_id)

    assert (
        'step "mail" failed (attempt 2) and is tried again at 2026-11-21T12:00:30.123Z; '
        "the function failed (attempt 1) and is tried again at 2026-11-21T12:01:00.123Z"
    ) == run["waiting"]
    assert [("attempt failed", "a", 0), ("attempt failed", "a", 1), ("attempt failed", None, 0)] == [
        (entry["kind"], entry["step_id"], entry["attempt"]) for entry in run["history"]
    ]


def test_a_run_whose_app_is_down_tells_since_when(client: FlaskClient, world: World) -> None:
    run_id = world.run(world.event())
    for attempt, error in enumerate(["AppUnreachable", "E", "AppUnreachable", "AppUnreachable"]):
        world.clock.advance(timedelta(minutes=1))
        record = failed_attempt(world, None, attempt, timedelta(seconds=30), error)
        with world.parts.database.write() as conn:
            history.add(conn, run_id, [record], world.clock.now())

    assert (
        "the function failed (attempt 4) and is tried again at 2026-11-21T12:04:30.123Z; "
        "the app could not be reached since 2026-11-21T12:03:00.123Z"
    ) == shown(client, run_id)["waiting"]


def test_a_try_that_is_due_is_not_waited_for(client: FlaskClient, world: World) -> None:
    run_id = world.run(world.event())
    world.history(run_id, failed_attempt(world, None, 0, timedelta(seconds=30)))

    world.clock.advance(timedelta(seconds=31))

    assert shown(client, run_id)["waiting"] is None


def test_of_many_reasons_to_wait_three_are_told(client: FlaskClient, world: World) -> None:
    run_id = world.run(world.event())
    waits = (SaveStep(str(n), f"s{n}", "WaitForEvent", StepStatus.WAITING) for n in range(5))
    world.steps(run_id, *waits)

    waiting = shown(client, run_id)["waiting"]

    assert 'step "s0" waits to be resumed (WaitForEvent)' in waiting
    assert waiting.endswith('"s2" waits to be resumed (WaitForEvent); and 2 more')


def test_a_run_of_a_future_event_says_when_it_starts(client: FlaskClient, world: World) -> None:
    soon = world.clock.now() + timedelta(hours=1)
    future = world.run(world.event(ts=int(soon.timestamp() * 1000)), status=Status.QUEUED)
    present = world.run(world.event(), status=Status.QUEUED)

    assert "its event is dated 2026-11-21T13:00:00.123Z, and it starts then" == shown(client, future)["waiting"]
    assert ("Scheduled", "its first call has not begun yet") == (
        shown(client, present)["status"],
        shown(client, present)["waiting"],
    )


def test_delete_cancels_a_run_and_says_so_again(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.run(world.event())

    answers = [client.delete(f"/v1/runs/{run_id}") for _ in range(2)]

    assert [(200, b""), (200, b"")] == [(answer.status_code, answer.data) for answer in answers]
    run = shown(client, run_id)
    assert ("Cancelled", {}) == (run["status"], run["output"])
    assert [("cancelled", {"reason": "cancelled through the API"})] == [
        (entry["kind"], entry["data"]) for entry in run["history"]
    ]


def test_an_ended_run_is_not_changed_by_delete(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.finished(world.event(), Status.COMPLETED, output="1")

    answer = client.delete(f"/v1/runs/{run_id}")

    assert 200 == answer.status_code
    assert ("Completed", 1) == (shown(client, run_id)["status"], shown(client, run_id)["output"])


def test_the_older_delete_tells_cancelled_from_ended(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    live, ended = world.run(world.event()), world.finished(world.event(), Status.FAILED, error="{}")

    statuses = [client.delete(f"/v0/runs/{run_id}").status_code for run_id in (live, live, ended, NOBODY)]

    assert [204, 404, 409, 404] == statuses
    with world.parts.database.read() as conn:
        stored = runs.get(conn, live)
    assert stored is not None
    assert Status.CANCELLED == stored.status


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    ("run_id", "status", "sentence"),
    [
        ("7", 400, 'run_id must be a ULID (26 letters and digits), not "7"'),
        ("x" * 300, 400, "run_id must be a ULID"),
        ("Z" * 26, 400, "run_id must be a ULID"),
        (NOBODY, 404, f"there is no run {NOBODY}"),
    ],
)
def test_bad_ids_are_refused_with_a_sentence(
    client: FlaskClient, method: str, run_id: str, status: int, sentence: str
) -> None:
    answer = client.open(f"/v1/runs/{run_id}", method=method)

    assert status == answer.status_code
    assert sentence in answer.get_json()["error"]
