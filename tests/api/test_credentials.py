"""Each route is asked without a credential, with wrong ones, with one that is too narrow, and with the right one.

The routes are those of the app itself: one that says nothing of its credential fails here.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from orchestrator import bootstrap
from orchestrator.api.access import Way
from orchestrator.api.app import create_app
from orchestrator.api.auth import bearer_authorizer
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.api.route_table import Route, routes_of, unserved_app
from orchestrator.clock import SystemClock
from orchestrator.config import Config
from orchestrator.core.scope import Scope
from orchestrator.engine.keyring import Keyring
from orchestrator.engine.parts import Parts
from orchestrator.engine.tokens import create, revoke
from orchestrator.queue.announce import Silence

ROOT = Path(__file__).parents[2]
KEY = "signkey-test-12345678"
BEARER = "b2ed992186a5cb19f6668aade821f502c1d00970dfd0e35128d51bac4649916c"
ROUTES = routes_of(unserved_app())
GUARDED = [route for route in ROUTES if route.access not in (Way.OPEN, Way.LOGIN)]
ARGUMENT = re.compile(r"<(?:([^:>]+):)?[^>]+>")
VALUES = {"ulid": "01J00000000000000000000000", "int": "7"}

each_guarded = pytest.mark.parametrize("route", GUARDED, ids=lambda it: f"{it.method} {it.path}")


@dataclass(frozen=True)
class Served:
    """One guarded server for all routes: the answers of what is behind them do not matter here."""

    parts: Parts
    client: FlaskClient

    def token(self, *scopes: Scope) -> str:
        return create(self.parts, "tool", scopes)[1]

    def revoked(self) -> str:
        token, secret = create(self.parts, "former", list(Scope))
        revoke(self.parts, token.id)
        return secret


@pytest.fixture(scope="module")
def served(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path = tmp_path_factory.mktemp("credentials") / "test.db"
    shutil.copy(empty_database, path)
    parts = bootstrap.parts(Config(), f"sqlite:///{path}", Silence(), synchronous="OFF", clock=SystemClock())
    # Each request looks for its token anew: what a process remembers has tests of its own.
    authorize = bearer_authorizer([KEY], Keyring(parts, itertools.count(step=10).__next__))
    app = create_app(parts, server_kind="cloud", authorize=authorize, doors=Doors(login=True))
    yield Served(parts, app.test_client())
    parts.database.close()


def ask(client: FlaskClient, route: Route, bearer: str | None = None) -> TestResponse:
    path = ARGUMENT.sub(lambda found: VALUES.get(found[1] or "", "shop"), route.path)
    headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else {}
    return client.open(path, method=route.method, headers=headers)


def sentence(answer: TestResponse) -> str:
    """What a refusal says, in the shape of its family."""
    said = answer.get_json()
    return str(said["errors"][0]["message"] if "errors" in said else said["error"])


def test_every_route_says_what_credential_it_needs() -> None:
    silent = [f"{route.method} {route.path}" for route in ROUTES if route.access is None]

    assert [] == silent, "declare it by @needs(...) of orchestrator.api.access, and run `make routes`"


@each_guarded
def test_a_route_is_closed_to_whoever_has_no_credential_or_a_wrong_one(served: Served, route: Route) -> None:
    wrong = (None, "", BEARER[:-1] + "0", "orch_" + "0" * 48, served.revoked())

    answers = [ask(served.client, route, bearer) for bearer in wrong]

    assert [401] * 5 == [answer.status_code for answer in answers]
    assert ["Bearer"] * 5 == [answer.headers["WWW-Authenticate"] for answer in answers]
    assert all("Authentication failed" in sentence(answer) for answer in answers)


@each_guarded
def test_a_route_is_closed_to_a_token_that_may_do_all_but_this(served: Served, route: Route) -> None:
    narrow = served.token(*(scope for scope in Scope if scope is not route.access))

    answer = ask(served.client, route, narrow)

    wish = f"the scope {route.access.value}" if isinstance(route.access, Scope) else "the signing key"
    assert (403, True) == (answer.status_code, sentence(answer).endswith(f"needs {wish}"))


@each_guarded
def test_a_route_is_open_to_the_credential_it_names_and_to_the_signing_key(served: Served, route: Route) -> None:
    bearers = [BEARER, KEY] + ([served.token(route.access)] if isinstance(route.access, Scope) else [])

    answers = [ask(served.client, route, bearer).status_code for bearer in bearers]

    assert {401, 403}.isdisjoint(answers)


@pytest.mark.parametrize(
    "route", [it for it in ROUTES if it.access is Way.OPEN], ids=lambda it: f"{it.method} {it.path}"
)
def test_an_open_route_asks_for_nothing(served: Served, route: Route) -> None:
    assert ask(served.client, route).status_code not in (401, 403)


@pytest.mark.parametrize(
    "route", [it for it in ROUTES if it.access is Way.LOGIN], ids=lambda it: f"{it.method} {it.path}"
)
def test_a_route_behind_a_login_shows_nothing_without_one(served: Served, route: Route) -> None:
    assert ask(served.client, route).status_code in (302, 303, 401, 403)


#: Whether the server is up, how to talk to it, how to sign in, and pages that hold nothing by themselves.
OPEN = {
    *("/health", "/ready", "/v2/health", "/openapi.json"),
    *("/login", "/favicon.ico", "/static/<version>/<name>"),
    *("/docs", "/docs/style.css", "/v0", "/v0/playground/<name>"),
}


def test_only_what_says_that_the_server_is_up_and_how_to_talk_to_it_is_open() -> None:
    assert OPEN == {route.path for route in ROUTES if route.access is Way.OPEN}


def test_the_page_of_routes_is_as_they_are() -> None:
    script = ROOT / "scripts" / "routes.py"
    spec = importlib.util.spec_from_file_location("routes", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert module.page() == (ROOT / "docs" / "routes.md").read_text(), "run `make routes`"
