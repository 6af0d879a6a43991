"""The state an SDK fetches itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from orchestrator.core.effect import SaveStep, StepStatus

if TYPE_CHECKING:
    from tests.api.conftest import World

NOBODY = "01J00000000000000000000000"


def test_batch_gives_the_event_to_the_letter(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    event = world.event(data='{"n":123456789012345678901,"rate":1.10}')

    answer = client.get(f"/v0/runs/{world.run(event)}/batch")

    assert (200, f"[{event.wire()}]") == (answer.status_code, answer.get_data(as_text=True))


def test_actions_give_the_memos_in_the_order_of_their_storing(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.run(world.event())
    world.steps(
        run_id,
        SaveStep("zz", "first", "StepRun", StepStatus.COMPLETED, memo='{"data":123456789012345678901}'),
        SaveStep("aa", "second", "Sleep", StepStatus.COMPLETED, memo="null"),
        SaveStep("mm", "open", "Sleep", StepStatus.SLEEPING),
    )

    answer = client.get(f"/v0/runs/{run_id}/actions")

    assert '{"zz":{"data":123456789012345678901},"aa":null}' == answer.get_data(as_text=True)


def test_a_run_without_memos_has_empty_actions(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])

    answer = client.get(f"/v0/runs/{world.run(world.event())}/actions")

    assert {} == answer.get_json()


@pytest.mark.parametrize("what", ["batch", "actions"])
def test_bad_ids_are_refused_as_the_sdks_read_it(client: FlaskClient, world: World, what: str) -> None:
    orphan = world.run(world.event(), slug="never-registered")

    answers = [client.get(f"/v0/runs/{run_id}/{what}") for run_id in ("7", NOBODY, orphan)]

    assert [400, 404, 410] == [answer.status_code for answer in answers]
    assert [400, 404, 410] == [answer.get_json()["status"] for answer in answers]
    assert [{"code", "error", "status", "data"}] * 3 == [set(answer.get_json()) for answer in answers]
