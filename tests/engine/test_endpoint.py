"""Runs of durable endpoints: whose they are while the SDK holds them, and when the server takes them over."""

from __future__ import annotations

import json

from orchestrator.engine.endpoint import begin, report
from orchestrator.engine.recover import recover
from orchestrator.ids import new_ulid
from orchestrator.protocol.endpoint import read_new_run, read_report
from orchestrator.store import losses, runs
from orchestrator.store.database import Database
from tests.engine.world import NOW, World


def begun(world: World) -> str:
    """Let an SDK begin a run; returns its id."""
    run_id = new_ulid()
    request = {"domain": "http://localhost:3000", "path": "/orders", "method": "POST"}
    body = {"run_id": run_id, "event": {"name": "inngest/http.request", "data": request}}
    begin(world.parts, read_new_run(json.dumps(body).encode(), NOW))
    return run_id


def ends(world: World, run_id: str) -> str:
    """Let the SDK report the end of the run; returns its status."""
    done = {"id": "0" * 40, "op": "RunComplete", "data": {"status_code": 200, "headers": {}, "body": "done"}}
    report(world.parts, run_id, read_report(json.dumps({"steps": [done]}).encode(), NOW))
    with world.parts.database.read() as conn:
        run = runs.get(conn, run_id)
    assert run is not None
    return run.status.value


def test_a_run_that_an_sdk_is_at_stays_its_own_when_a_server_that_is_alone_takes_all_leases_back(database: Database):
    world = World(database)
    run_id = begun(world)

    with database.read() as conn:
        former = losses.owners(conn)
    recover(world.parts, former)

    assert "completed" == ends(world, run_id)
