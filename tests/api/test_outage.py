"""While the database cannot be used, whoever asks gets a 503 in the shape of their family, and may ask again."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from orchestrator.api.access import Way
from orchestrator.api.route_table import Route, routes_of, unserved_app
from orchestrator.core.scope import Scope
from orchestrator.store import schema
from tests.api.outages import (
    EVENT_KEY,
    FAMILIES,
    SIGNING_KEY,
    Guarded,
    guarded,
    locked,
    serving,
    while_killed,
    without_file,
)
from tests.cluster.ground import own_postgresql

ARGUMENT = re.compile(r"<(?:([^:>]+):)?[^>]+>")
VALUES = {"ulid": "01J00000000000000000000000", "int": "7"}
ROUTES = routes_of(unserved_app())

each_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One whose database is a server behind a link that can be cut."""
    with guarded(request.param, tmp_path_factory.mktemp("outage")) as made:
        yield made


def assert_told(answer: TestResponse, family: str) -> None:
    """A 503 in the shape of the family, that says when to come again."""
    assert (503, "2") == (answer.status_code, answer.headers.get("Retry-After")), answer.text[-600:]
    if family == "dashboard":
        assert "The database is away" in answer.text
        return
    told = answer.get_json()
    if family.startswith("events"):
        assert ({"ids", "status", "error"}, [], 503) == (set(told), told["ids"], told["status"])
    elif family == "/v2":
        assert ["unavailable"] == [it["code"] for it in told["errors"]]
    elif family == "GraphQL" and "errors" in told:
        assert ["unavailable"] == [it["extensions"]["code"] for it in told["errors"]]
    else:
        assert ("unavailable", None, 503) == (told["code"], told["data"], told["status"])


def ask(server: Guarded, route: Route) -> TestResponse:
    path = ARGUMENT.sub(lambda found: VALUES.get(found[1] or "", "shop"), route.path)
    return server.ask(route.method, path, server.token if isinstance(route.access, Scope) else SIGNING_KEY)


def family_of(route: Route) -> str:
    if route.access is Way.LOGIN:
        return "dashboard"
    return "/v2" if route.path.startswith("/v2/") else "GraphQL" if route.path == "/v0/gql" else "/v1"


@each_family
def test_each_family_is_served_by_a_database_that_is_there(server: Guarded, family: str) -> None:
    assert server.family(family).status_code in (200, 201, 303)


def test_every_route_that_asks_who_comes_answers_503_while_the_database_is_away(server: Guarded) -> None:
    by_token = [it for it in ROUTES if isinstance(it.access, Scope)]
    pages = [it for it in ROUTES if it.access is Way.LOGIN and it.path != "/login"]
    with server.away():
        answers = [(it, ask(server, it)) for it in by_token + pages]

    assert len(by_token) > 40
    assert len(pages) > 30
    for route, answer in answers:
        assert_told(answer, family_of(route))


def test_no_route_at_all_is_a_fault_of_ours_while_the_database_is_away(server: Guarded) -> None:
    """Those for the signing key and for nobody in particular get as far as what they were sent lets them."""
    others = [it for it in ROUTES if not isinstance(it.access, Scope)]
    with server.away():
        told = {f"{it.method} {it.path}": ask(server, it).status_code for it in others}

    assert {} == {route: status for route, status in told.items() if status >= 500 and status != 503}


@each_family
def test_the_log_is_told_once_and_without_a_secret(
    server: Guarded, family: str, caplog: pytest.LogCaptureFixture
) -> None:
    with server.away():
        caplog.clear()
        assert_told(server.family(family), family)

    told = [it.getMessage() for it in caplog.records if it.levelname in ("WARNING", "ERROR")]
    assert 1 == len(told), told
    assert "database unavailable" in told[0]
    assert not any(secret in caplog.text for secret in (EVENT_KEY, server.token, server.cookie))


def test_an_event_that_no_thread_waits_for_is_told_the_same(server: Guarded) -> None:
    with server.away():
        status, headers, body = server.soon("shop/sold")

    assert ("503 Service Unavailable", "2") == (status, headers["Retry-After"])
    assert {"ids", "status", "error"} == set(json.loads(body))
    server.soon("shop/sold")
    assert "200 OK" == server.soon("shop/sold")[0]


@each_family
def test_whoever_comes_after_an_outage_is_served(server: Guarded, family: str) -> None:
    """A connection that has ended meanwhile may cost one request a 503, and no more than one."""
    assert server.link is not None
    server.family(family)

    server.link.cut()
    first, second = server.family(family), server.family(family)

    assert first.status_code in (200, 201, 303, 503)
    assert second.status_code in (200, 201, 303)


@each_family
def test_a_transaction_that_is_ended_in_its_middle_is_a_503_and_leaves_nothing(server: Guarded, family: str) -> None:
    server.ask("POST", "/v1/functions/shop-bill/resume", SIGNING_KEY)
    before = server.written()

    with locked(server.url, "audit", "events", "triggers") as killer:
        answer = while_killed(killer, lambda: server.family(family))

    assert_told(answer, family)
    assert before == server.written()


@each_family
def test_a_commit_that_is_cut_off_is_a_503(server: Guarded, family: str) -> None:
    assert server.link is not None
    if server.database.kind == "postgresql" and family in ("events, by the short way", "events, with a token"):
        pytest.skip("it is one statement, and has no commit of its own")
    server.ask("POST", "/v1/functions/shop-bill/resume", SIGNING_KEY)

    server.link.cut_at(b"COMMIT")
    try:
        answer = server.family(family)
    finally:
        server.link.cut_at(None)

    assert_told(answer, family)
    assert server.family(family).status_code in (200, 201, 303)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_whoever_finds_no_connection_free_gets_a_503(kind: str, tmp_path: Path) -> None:
    with guarded(kind, tmp_path, patience=0.2) as server, ExitStack() as held:
        for _ in range(2):
            held.enter_context(server.database.write())
        for _ in range(3):
            held.enter_context(server.database.read())

        answers = {family: server.family(family) for family in FAMILIES}

    for family, answer in answers.items():
        assert_told(answer, family)


def test_a_database_that_is_read_only_is_a_503(server: Guarded) -> None:
    """As a standby is, to which a proxy leads after a failover."""
    if server.database.kind != "postgresql":
        pytest.skip("MariaDB's setting is for the whole server, which others use")
    with server.database.write() as conn:
        conn.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    try:
        answer = server.family("/v1")
    finally:
        server.database.close()

    assert_told(answer, "/v1")


@each_family
def test_an_embedded_database_that_somebody_else_holds_is_a_503(tmp_path: Path, family: str) -> None:
    with guarded("sqlite", tmp_path, patience=0.2) as server:
        other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        answer = server.family(family)

        other.rollback()
        other.close()
        assert_told(answer, family)
        assert server.family(family).status_code in (200, 201, 303)


def test_an_embedded_database_that_cannot_be_opened_is_a_503_for_every_route(tmp_path: Path) -> None:
    with guarded("sqlite", tmp_path) as server:
        server.database.close()
        without_file(tmp_path / "state.db")
        server.until_forgotten()

        answers = [(it, ask(server, it)) for it in ROUTES if isinstance(it.access, Scope)]

    for route, answer in answers:
        assert_told(answer, family_of(route))


def test_a_statement_that_is_wrong_is_no_outage(tmp_path: Path) -> None:
    """On SQLite it is of the same class of errors."""
    with guarded("sqlite", tmp_path) as server:
        with server.database.write() as conn:
            conn.exec_driver_sql("ALTER TABLE audit RENAME TO elsewhere")

        answer = server.family("/v1")

    assert (500, "internal") == (answer.status_code, answer.get_json()["code"])


def test_a_postgresql_that_is_stopped_is_a_503_until_it_is_back() -> None:
    with own_postgresql() as own:
        url = own.url(own.port)
        schema.upgrade(url)
        with serving(url, url) as server:
            assert 200 == server.family("/v1").status_code
            own.kill()
            away = {family: server.family(family) for family in FAMILIES}
            own.start()
            server.family("/v1")  # it may still hold a connection to what is gone
            back = [server.family(family).status_code for family in FAMILIES]

    for family, answer in away.items():
        assert_told(answer, family)
    assert {200, 303} >= set(back), back
