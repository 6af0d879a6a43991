"""Whatever a browser sends, a page answers with a sentence and never with a failure, on PostgreSQL, which is strict."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from flask import Flask, Request
from flask.testing import FlaskClient
from werkzeug.datastructures import ImmutableMultiDict, MultiDict

from orchestrator.api.app import create_app
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.clock import SettableClock
from orchestrator.core.effect import SaveStep, Status, StepStatus
from orchestrator.engine.parts import Parts
from orchestrator.queue.lease import Holdings
from orchestrator.store.database import Database
from orchestrator.store.presence import Presence
from orchestrator.store.schema import upgrade
from tests.api.conftest import NOW, NoApps, NobodyListens, World
from tests.services import own_database

_GET = "status function app event q span from until after before by failure name internal zoom seen part exact next job"
_POST = "function name step input kind rate data run job concurrency number of period key url role password here next"
#: What addresses and forms of the pages say.
FIELDS = {method: fields.split() for method, fields in (("GET", _GET), ("POST", _POST))}
#: What the rest of a form says, so that the one field is come to.
FIT = {
    "function": "shop-bill",
    "name": "shop/sold",
    "data": "{}",
    "step": "a" * 40,
    "of": "throttle",
    "number": "1",
    "period": "1m",
}
HOSTILE = (
    "\0",
    "\ud800",
    "a\0b",
    "'; DROP TABLE runs; --",
    "%",
    "7" + 25 * "Z",
    "\N{PILE OF POO}" * 600,
    "x" * 5_000,
    "9" * 40,
    "0001-01-01T00:00+05:00",
    "9999-12-31T23:59:59.999999-05:00",
    "[" * 2_000,
    '{"a":"\\ud800"}',
    "9007199254740993.1e999",
    "event.data.x == '\\u0000'",
    base64.urlsafe_b64encode(b"01J00000000000000000000001..\0").decode(),
    base64.urlsafe_b64encode(b"01J00000000000000000000001..\xed\xa0\x80").decode(),
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with own_database("postgresql") as url:
        upgrade(url)
        database, apps = Database(url), NoApps()
        parts = Parts(database, SettableClock(NOW), NobodyListens(), Holdings(database, Presence(database)), apps, apps)
        yield World(parts, SettableClock(NOW))
        database.close()


@pytest.fixture(scope="module")
def run_id(world: World) -> str:
    world.app(slugs=["shop-bill"])
    run_id = world.finished(world.event(), Status.COMPLETED, "1")
    world.steps(run_id, SaveStep("a" * 40, "one", "StepRun", StepStatus.COMPLETED, memo='{"data":1}'))
    return run_id


class Noted(ImmutableMultiDict[str, str]):
    """The fields of an address or a form, which note those that somebody looks at; `*` is all."""

    looked: ClassVar = set[str]()

    def __getitem__(self, key: str) -> str:
        Noted.looked.add(key)
        return super().__getitem__(key)

    def getlist(self, key: str, *args: Any, **more: Any) -> list[Any]:
        Noted.looked.add(key)
        return super().getlist(key, *args, **more)

    def items(self, multi: bool = False) -> Iterator[tuple[str, str]]:  # type: ignore[override]
        Noted.looked.add("*")
        return super().items(multi)

    def copy(self) -> MultiDict[str, str]:  # type: ignore[override]
        Noted.looked.add("*")
        return super().copy()


class Noting(Request):
    parameter_storage_class = Noted  # type: ignore[assignment]


@pytest.fixture(scope="module")
def browser(world: World) -> FlaskClient:
    app = create_app(world.parts, doors=Doors(login=False))
    app.request_class = Noting
    return app.test_client()


def _rules() -> list[tuple[str, str]]:
    app = Flask("routes")
    app.register_blueprint(routes.blueprint)
    found = [rule for rule in app.url_map.iter_rules() if rule.endpoint in routes.needs]
    return sorted(("POST" if "POST" in (rule.methods or ()) else "GET", rule.rule) for rule in found)


def asked(browser: FlaskClient, method: str, path: str, fields: dict[str, str]) -> int:
    sent = {name: value.encode("utf-8", "surrogatepass") for name, value in fields.items()}
    query = "&".join(f"{name}={quote(value)}" for name, value in sent.items())
    if method == "GET":
        return browser.get(f"{path}?{query}").status_code
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return browser.post(path, data=query, headers=headers).status_code


@pytest.mark.parametrize(("method", "rule"), _rules())
def test_no_field_makes_a_page_fail(browser: FlaskClient, run_id: str, method: str, rule: str) -> None:
    path = re.sub(r"<(?:\w+:)?(\w+)>", lambda it: run_id if it[1].endswith("id") else "shop-bill", rule)

    failed = []
    for field in FIELDS[method]:
        for value in HOSTILE:
            Noted.looked.clear()
            if asked(browser, method, path, (FIT if method == "POST" else {}) | {field: value}) >= 500:
                failed.append((field, value[:40]))
            if not Noted.looked & {field, "*"}:  # whatever it says
                break

    assert [] == failed


@pytest.mark.parametrize(("method", "rule"), [it for it in _rules() if "<" in it[1]])
def test_no_path_makes_a_page_fail(browser: FlaskClient, run_id: str, method: str, rule: str) -> None:
    values = [quote(value.encode("utf-8", "surrogatepass"), safe="") for value in HOSTILE]

    failed = [
        value[:40]
        for value in values
        if browser.open(re.sub(r"<[^>]+>", lambda _, it=value: it, rule), method=method).status_code >= 500
    ]

    assert [] == failed


def test_no_pair_of_fields_makes_an_action_fail(browser: FlaskClient, run_id: str) -> None:
    pairs = {
        f"/runs/{run_id}/rerun": ("step", "input"),
        "/functions/limit": ("key", "concurrency"),
        "/functions/invoke": ("function", "data"),
        "/events/send": ("name", "data"),
    }
    given = {"step": "a" * 40, "concurrency": "1", "function": "shop-bill", "name": "shop/sold", "data": "{}"}

    failed = []
    for path, fields in pairs.items():
        for field, value in itertools.product(fields, HOSTILE):
            form = {it: given.get(it, "") for it in fields} | {"function": "shop-bill", field: value}
            if asked(browser, "POST", path, form) >= 500:
                failed.append((path, field, json.dumps(value)[:40]))

    assert [] == failed
