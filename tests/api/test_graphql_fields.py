"""What fields of GraphQL tell that tools seldom ask for: each has what the server knows, or is what its page says."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flask.testing import FlaskClient

from orchestrator.api.render import ENVIRONMENT_ID
from orchestrator.core.effect import Record, SaveStep, Status, StepStatus
from orchestrator.ids import named_uuid
from orchestrator.store import pauses, skips
from orchestrator.store.pauses import Pause
from orchestrator.store.runs import NewRun
from orchestrator.store.skips import Skipped
from tests.api.asking import STEP, data, declare
from tests.api.conftest import NOW, ulid

if TYPE_CHECKING:
    from tests.api.conftest import World

AT, LATER = "2026-11-21T12:00:00.123Z", "2026-11-21T13:00:00.123Z"


def test_an_event_tells_when_it_happened_when_it_came_and_what_its_sender_named(
    client: FlaskClient, world: World
) -> None:
    event = world.event(external_id="sold-1", v="2")

    fields = "envID id idempotencyKey name occurredAt raw receivedAt source {id} version"
    told = data(client, f"query ($id: ULID!) {{eventV2(id: $id) {{{fields}}}}}", id=event.id)["eventV2"]

    assert {
        "envID": ENVIRONMENT_ID,
        "id": event.id,
        "idempotencyKey": "sold-1",
        "name": "shop/sold",
        "occurredAt": "2023-11-14T22:13:20.000Z",
        "raw": event.wire(),
        "receivedAt": AT,
        "source": None,
        "version": "2",
    } == told


def test_an_app_tells_its_checksum_which_a_declaration_changes(client: FlaskClient, world: World) -> None:
    sums = []
    for slug in ("shop-bill", "shop-ship"):
        declare(world, {"id": slug, "name": slug, "triggers": [{"event": "shop/sold"}], "steps": STEP})
        [app] = data(client, "{apps {checksum appVersion}}")["apps"]
        sums.append(app["checksum"])

    assert (True, None) == (sums[0] is not None and sums[0] != sums[1], app["appVersion"])


def test_a_skipped_run_tells_why_and_what_stood_in_its_way(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    event, active, run_id = world.event(), ulid(800), ulid(801)
    new = NewRun(run_id, named_uuid("function", "shop-bill"), 1, event.id, event.name, Status.QUEUED, NOW, None)
    with world.parts.database.write() as conn:
        skips.add(conn, [Skipped(new, "singleton", {"run_id": active})], NOW)

    told = data(
        client,
        "query ($id: String!) {run(runID: $id) {status sourceID}"
        " runTrace(runID: $id) {status skipReason skipExistingRunID}}",
        id=run_id,
    )

    assert {"status": "SKIPPED", "sourceID": None} == told["run"]
    assert {"status": "SKIPPED", "skipReason": "singleton", "skipExistingRunID": active} == told["runTrace"]


def test_spans_tell_where_they_belong_and_nothing_that_is_not_known(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.run(world.event())
    world.steps(run_id, SaveStep("hash", "pay", "StepRun", StepStatus.RETRYING, attempts=1, started_at=NOW))
    world.history(run_id, Record("attempt failed", "hash", 0, '{"error":{"message":"no"}}'))
    about = (
        "appID functionID run {id} groupID scheduledAt isUserland userlandSpan {spanName} debugRunID debugSessionID"
        " debugPaused skipReason skipExistingRunID metadata {kind} response {statusCode}"
    )

    root = data(
        client,
        f"query ($id: String!) {{runTrace(runID: $id) {{spanID {about}"
        f" childrenSpans {{{about} parentSpan {{spanID}} childrenSpans {{parentSpan {{name}}}}}}}}}}",
        id=run_id,
    )["runTrace"]

    nothing = {
        "appID": named_uuid("app", "shop"),
        "functionID": named_uuid("function", "shop-bill"),
        "run": {"id": run_id},
        "scheduledAt": AT,
        "isUserland": False,
        "userlandSpan": None,
        "debugRunID": None,
        "debugSessionID": None,
        "debugPaused": False,
        "skipReason": None,
        "skipExistingRunID": None,
        "metadata": [],
        "response": None,
    }
    [step] = root.pop("childrenSpans")
    tries, parent = step.pop("childrenSpans"), step.pop("parentSpan")
    assert nothing | {"groupID": None} == {name: it for name, it in root.items() if name != "spanID"}
    assert (nothing | {"groupID": "hash"}, {"spanID": root["spanID"]}) == (step, parent)
    assert [{"parentSpan": {"name": "pay"}}] * 2 == tries


def test_an_errors_cause_is_told_as_json(client: FlaskClient, world: World) -> None:
    run_id = world.finished(world.event(), Status.FAILED, error='{"name":"E","message":"no","cause":{"why":[1]}}')

    trace = data(client, "query ($id: String!) {runTrace(runID: $id) {outputID}}", id=run_id)["runTrace"]
    query = "query ($id: String!) {runTraceSpanOutputByID(outputID: $id) {error {name message stack cause}}}"
    error = data(client, query, id=trace["outputID"])["runTraceSpanOutputByID"]["error"]

    assert {"name": "E", "message": "no", "stack": None, "cause": '{"why":[1]}'} == error


def test_a_waiting_run_tells_until_when_it_waits_for_which_event(client: FlaskClient, world: World) -> None:
    run_id = world.run(world.event())
    world.steps(run_id, SaveStep("hash", "paid", "WaitForEvent", StepStatus.WAITING))
    condition = "async.data.order == 7"
    pause = Pause(ulid(700), pauses.EVENT, run_id, NOW + timedelta(hours=1), "hash", "shop/paid", condition)
    with world.parts.database.write() as conn:
        pauses.add(conn, [pause], NOW)

    asked = 'functionRun(query: {workspaceId: "local", functionRunId: $id})'
    query = f"query ($id: ID!) {{{asked} {{waitingFor {{eventName expression expiryTime}}}}}}"
    told = data(client, query, id=run_id)["functionRun"]["waitingFor"]

    assert {"eventName": "shop/paid", "expression": condition, "expiryTime": LATER} == told
