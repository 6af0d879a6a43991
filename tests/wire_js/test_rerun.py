"""Reruns from a step, with the official TypeScript SDK over real HTTP: what is kept, and the input that is another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.wire.harness import Server
from tests.wire_js.harness import NodeApp

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=[False, None], ids=["plain", "checkpointing"])
def app(request: pytest.FixtureRequest, make_app: Callable[..., NodeApp]) -> NodeApp:
    return make_app(checkpointing=request.param)


def again(server: Server, run: dict[str, Any], step: str, *, given: list[Any] | None = None) -> dict[str, Any]:
    """Run a run again from a step; what became of that."""
    body = {"from_step": {"step_id": step} | ({"input": given} if given is not None else {})}
    status, answer = server.request("POST", f"/v1/runs/{run['run_id']}/rerun", body)
    assert 200 == status, answer
    return server.run_ended(answer["data"]["run_id"])


def test_a_parallel_step_gets_another_input_and_those_beside_it_run_again(server: Server, app: NodeApp):
    run = server.ended(app.send("order"))
    assert {"paid": {"amount": 7, "how": "card"}, "packed": "pack", "done": "all"} == run["output"]

    new = again(server, run, "pay", given=[8, {"by": "invoice"}])

    assert ("Completed", {"amount": 8, "how": {"by": "invoice"}}) == (new["status"], new["output"]["paid"])
    assert ["done", "pack", "pay"] == sorted(app.ran(new["run_id"]))
    assert (run["run_id"], [new["run_id"]]) == (new["original_run_id"], server.run(run["run_id"])["reruns"])


def test_a_step_of_a_chain_gets_another_input_and_only_it_runs_again(server: Server, app: NodeApp):
    run = server.ended(app.send("order"))

    new = again(server, run, "done", given=["other"])
    plain = again(server, run, "done")

    assert [{**run["output"], "done": "other"}, run["output"]] == [new["output"], plain["output"]]
    assert [["done"], ["done"]] == [app.ran(new["run_id"]), app.ran(plain["run_id"])]


def test_a_chain_goes_on_from_one_of_its_steps(server: Server, app: NodeApp):
    run = server.ended(app.send("chain"))

    new = again(server, run, "third")

    assert ("Completed", 5) == (new["status"], new["output"])
    assert ["third", "fourth", "fifth"] == app.ran(new["run_id"])
