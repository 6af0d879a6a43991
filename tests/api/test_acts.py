"""What an operator does and the note of it are one transaction: neither is there without the other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from orchestrator.api.app import create_app
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.core.effect import Status
from orchestrator.core.role import Role
from orchestrator.core.scope import Scope
from orchestrator.engine.bulk import Wish as BulkWish
from orchestrator.engine.bulk import give
from orchestrator.engine.bulk import write as write_order
from orchestrator.engine.cancel_all import Wish, ordered
from orchestrator.engine.tokens import create
from orchestrator.engine.users import add_user
from orchestrator.store import jobs, losses, sessions
from orchestrator.store.filters import RunFilter
from orchestrator.store.orders import Kind
from orchestrator.store.tables import audit, metadata
from tests.api.conftest import NOW, World

#: What is done, by whom in what way, and the notes that are to be found of it.
ACTS: dict[str, tuple[str, str, dict[str, Any], list[str]]] = {
    "cancel, v1": ("DELETE", "/v1/runs/{run}", {}, ["run cancelled"]),
    "cancel, v0": ("DELETE", "/v0/runs/{run}", {}, ["run cancelled"]),
    "cancel, v2": ("POST", "/v2/runs/{run}/cancel", {}, ["run cancelled"]),
    "cancel, GraphQL": (
        "POST",
        "/v0/gql",
        {"json": {"query": 'mutation {{ cancelRun(runID: "{run}") {{ id }} }}'}},
        ["run cancelled"],
    ),
    "cancel, dashboard": ("POST", "/runs/{run}/cancel", {}, ["run cancelled"]),
    "cancel the chosen": ("POST", "/runs/cancel", {"data": {"run": "{run}"}}, ["run cancelled"]),
    "requeue, v1": ("POST", "/v1/runs/{dead}/requeue", {}, ["run requeued"]),
    "requeue, dashboard": ("POST", "/runs/{dead}/requeue", {}, ["run requeued"]),
    "rerun": ("POST", "/v1/runs/{run}/rerun", {}, ["run rerun"]),
    "send": ("POST", "/events/send", {"data": {"name": "shop/sold", "data": "{{}}"}}, ["event sent"]),
    "invoke": ("POST", "/invoke/shop-bill", {"json": {}}, ["function invoked"]),
    "pause": ("POST", "/v1/functions/shop-bill/pause", {}, ["function paused"]),
    "pause, dashboard": ("POST", "/functions/pause", {"data": {"function": "shop-bill"}}, ["function paused"]),
    "set a limit": ("PATCH", "/v1/functions/shop-bill", {"json": {"concurrency": 3}}, ["concurrency set"]),
    "set a limit and more": (
        "PATCH",
        "/v1/functions/shop-bill",
        {"json": {"concurrency": 3, "wait_look_back": True}},
        ["look-back set", "concurrency set"],
    ),
    "set a throttle and a rate limit": (
        "PATCH",
        "/v1/functions/shop-bill",
        {"json": {"throttle": {"limit": 1, "period": "1m"}, "rate_limit": {"limit": 2, "period": "1h"}}},
        ["throttle set", "rate limit set"],
    ),
    "set a throttle, dashboard": (
        "POST",
        "/functions/starts",
        {"data": {"function": "shop-bill", "of": "throttle", "number": "3", "period": "1m"}},
        ["throttle set"],
    ),
    "order": ("POST", "/v1/bulk", {"json": {"kind": "cancel", "filter": {}}}, ["bulk cancel"]),
    "stop an order": ("POST", "/v1/bulk/{order}/stop", {}, ["bulk stopped"]),
    "cancellation": ("POST", "/v1/cancellations", {"json": {"app_id": "shop"}}, ["bulk cancel"]),
    "delete a cancellation": ("DELETE", "/v1/cancellations/{cancellation}", {}, ["cancellation deleted"]),
    "make a token": ("POST", "/v1/tokens", {"json": {"name": "a", "scopes": ["read"]}}, ["token made"]),
    "revoke a token": ("DELETE", "/v1/tokens/{token}", {}, ["token revoked"]),
    "remove an app": ("DELETE", "/fn/remove?url=http://localhost:5000/api", {}, ["app removed"]),
    "requeue a job": ("POST", "/v1/jobs/{job}/requeue", {}, ["job requeued"]),
    "delete a job": ("DELETE", "/v1/jobs/{job}", {}, ["job deleted"]),
    "give a role": ("POST", "/users/ben/role", {"data": {"role": "operator"}}, ["role set"]),
    "set a password": ("POST", "/users/ben/password", {"data": {"password": "correct horse"}}, ["password set"]),
    "sign out": ("POST", "/users/ben/sign-out", {}, ["sessions ended"]),
    "remove a user": ("POST", "/users/ben/remove", {}, ["user removed"]),
}

each_act = pytest.mark.parametrize("act", ACTS)


@pytest.fixture
def things(world: World) -> Mapping[str, str]:
    """One of each kind of things that something can be done to."""
    world.app(slugs=["shop-bill"])
    live, dead = world.run(world.event()), world.finished(world.event(), Status.FAILED, error="{}")
    with world.parts.database.write() as conn:
        match = jobs.add(conn, jobs.MATCH, "match:lost", NOW, payload="[]").job_id
        call = jobs.add(conn, jobs.CALL, jobs.call_key(dead), NOW, run_id=dead).job_id
        for lease in jobs.lease(conn, [match, call], "w", NOW, NOW):
            losses.bury(conn, lease, "WorkerLost: gone")
    parts = world.parts
    ben = add_user(parts.database, "ben", Role.VIEWER, "correct horse battery", NOW)
    with parts.database.write() as conn:
        sessions.add(conn, "d" * 64, ben.id, NOW, NOW + timedelta(hours=1))
    return {
        "run": live,
        "dead": dead,
        "job": str(match),
        "order": give(parts, BulkWish(Kind.CANCEL, RunFilter())).id,
        "cancellation": write_order(parts, ordered(parts, Wish("shop"))).id,
        "token": create(parts, "tool", [Scope.READ])[0].id,
    }


@pytest.fixture
def client(world: World) -> FlaskClient:
    """The whole API with the dashboard, where nobody is asked."""
    return create_app(world.parts, doors=Doors(login=False)).test_client()


def do(client: FlaskClient, act: str, things: Mapping[str, str]) -> int:
    method, path, more, _ = ACTS[act]
    told = {
        kind: {name: it.format(**things) if isinstance(it, str) else it for name, it in body.items()}
        for kind, body in more.items()
    }
    return client.open(path.format(**things), method=method, **told).status_code


def rows(world: World) -> dict[str, list[Any]]:
    """All that is in the database but the audit."""
    with world.parts.database.read() as conn:
        return {it.name: conn.execute(select(it)).all() for it in metadata.sorted_tables if it is not audit}


def noted(world: World) -> list[str]:
    with world.parts.database.read() as conn:
        return [row.action for row in conn.execute(select(audit).order_by(audit.c.id))]


@each_act
def test_an_act_is_noted_once(world: World, client: FlaskClient, things: Mapping[str, str], act: str) -> None:
    before, notes = rows(world), noted(world)

    assert do(client, act, things) in (200, 201, 204, 303)

    assert notes + ACTS[act][3] == noted(world)
    assert before != rows(world)


@each_act
def test_an_act_that_cannot_be_noted_is_not_done(
    world: World, client: FlaskClient, things: Mapping[str, str], act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, slept = rows(world), list[float]()
    monkeypatch.setattr(time, "sleep", slept.append)
    with world.parts.database.write() as conn:
        conn.exec_driver_sql("ALTER TABLE audit RENAME TO elsewhere")

    assert do(client, act, things) in (200, 500)  # GraphQL tells its errors with a 200

    assert before == rows(world)
    assert [] == slept, "whoever asks is told at once"
