"""API tokens: made, shown once, used, revoked; and who did what with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from orchestrator.api.app import create_app
from orchestrator.api.auth import EventKeys, bearer_authorizer
from orchestrator.api.ingest import IngestApp
from orchestrator.core.effect import Status
from orchestrator.core.scope import Scope
from orchestrator.engine.keyring import DOUBTED, TRUSTED, Keyring
from orchestrator.engine.tokens import create, hashed, revoke
from orchestrator.errors import ForbiddenError, UnauthorizedError
from orchestrator.ids import new_ulid
from orchestrator.protocol.events import EventLimits
from orchestrator.store import tokens
from orchestrator.store.database import Database
from orchestrator.store.tables import audit
from orchestrator.store.tokens import MOST, Token

if TYPE_CHECKING:
    from tests.api.conftest import World

KEY = "signkey-test-12345678"


@pytest.fixture
def asked(world: World) -> Callable[..., Any]:
    """Ask a guarded server as somebody."""
    client = create_app(world.parts, authorize=bearer_authorizer([KEY], Keyring(world.parts))).test_client()

    def ask(method: str, path: str, bearer: str = KEY, **options: Any) -> Any:
        return client.open(path, method=method, headers={"Authorization": f"Bearer {bearer}"}, **options)

    return ask


def made(asked: Callable[..., Any], *scopes: str, name: str = "ci") -> dict[str, Any]:
    answer = asked("POST", "/v1/tokens", json={"name": name, "scopes": list(scopes)})
    assert 200 == answer.status_code, answer.get_json()
    token: dict[str, Any] = answer.get_json()["data"]
    return token


def audited(world: World) -> list[tuple[str, str, str | None]]:
    with world.parts.database.read() as conn:
        return [(row.action, row.subject, row.actor) for row in conn.execute(select(audit).order_by(audit.c.id))]


def test_a_token_is_shown_once_and_only_its_hash_is_kept(world: World, asked: Callable[..., Any]) -> None:
    token = made(asked, "read", "write")

    listed = asked("GET", "/v1/tokens")

    secret = token.pop("token")
    assert (True, 53) == (secret.startswith("orch_"), len(secret))
    assert [token] == listed.get_json()["data"]
    assert (["read", "write"], secret[:10], None) == (token["scopes"], token["hint"], token["revoked_at"])
    with world.parts.database.read() as conn:
        [stored] = tokens.live(conn)
    assert hashed(secret) == stored.hash


def test_a_token_may_do_what_it_lists_and_nothing_else(asked: Callable[..., Any]) -> None:
    secret = made(asked, "read")["token"]

    answers = [
        asked("GET", "/v1/events", secret),
        asked("POST", "/v1/signals", secret, json={"signal": "go"}),
        asked("GET", "/v1/tokens", secret),
    ]

    assert [200, 403, 403] == [answer.status_code for answer in answers]
    assert "token ci" in answers[1].get_json()["error"]


def test_a_revoked_token_is_refused_at_once_by_the_server_that_revoked_it(asked: Callable[..., Any]) -> None:
    token = made(asked, "read")
    before = asked("GET", "/v1/events", token["token"]).status_code

    revoked = asked("DELETE", f"/v1/tokens/{token['id']}")

    assert (200, True) == (before, revoked.get_json()["data"]["revoked_at"] is not None)
    assert 401 == asked("GET", "/v1/events", token["token"]).status_code
    assert 200 == asked("DELETE", f"/v1/tokens/{token['id']}").status_code


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name is missing"),
        ({"name": "", "scopes": ["read"]}, "name must have 1 to 255 characters"),
        ({"name": "a\x07b", "scopes": ["read"]}, "name must have 1 to 255 characters"),
        ({"name": "a" * 256, "scopes": ["read"]}, "name must have 1 to 255 characters"),
        ({"name": "a"}, "scopes is missing"),
        ({"name": "a", "scopes": []}, "scopes must have 1 to 20 of read, write"),
        ({"name": "a", "scopes": ["all"]}, "must be one of read, write"),
        ([], "Invalid input type"),
    ],
)
def test_a_token_that_cannot_be_is_refused_with_the_field(asked: Callable[..., Any], body: Any, field: str) -> None:
    answer = asked("POST", "/v1/tokens", json=body)

    assert (400, True) == (answer.status_code, field in answer.get_json()["error"]), answer.get_json()


def test_an_unknown_token_cannot_be_revoked(asked: Callable[..., Any]) -> None:
    answers = [asked("DELETE", f"/v1/tokens/{it}") for it in ("01J00000000000000000000000", "7")]

    assert [404, 400] == [answer.status_code for answer in answers]


def test_there_may_be_so_many_and_no_more(world: World, asked: Callable[..., Any]) -> None:
    token, _ = create(world.parts, "one", [Scope.READ])
    with world.parts.database.write() as conn:
        for number in range(MOST - 1):
            tokens.add(conn, replace(token, id=new_ulid(), hash=f"{token.hash[:-4]}z{number:03}"))

    answer = asked("POST", "/v1/tokens", json={"name": "one more", "scopes": ["read"]})

    assert (409, True) == (answer.status_code, "1000 tokens" in answer.get_json()["error"])


# What other processes know.


@dataclass
class Other:
    """Another process on the same database, whose time is set."""

    keyring: Keyring
    time: list[float]


@pytest.fixture
def other(world: World) -> Iterator[Other]:
    database = Database(str(world.parts.database.url), synchronous="OFF")
    time = [100.0]
    yield Other(Keyring(replace(world.parts, database=database), lambda: time[0]), time)
    database.close()


def test_another_process_refuses_a_revoked_token_within_a_second(world: World, other: Other) -> None:
    token, secret = create(world.parts, "ci", [Scope.READ])
    before = other.keyring.find(secret)
    other.keyring.find(secret)
    revoke(world.parts, token.id)

    other.time[0] += TRUSTED

    assert (True, True, None) == (before is not None, TRUSTED < 1, other.keyring.find(secret))


def test_another_process_knows_a_new_token_after_an_unknown_one_was_tried(world: World, other: Other) -> None:
    _, secret = create(world.parts, "ci", [Scope.READ])
    unknown = other.keyring.find("orch_unknown")
    _, second = create(world.parts, "cd", [Scope.READ])

    known = [other.keyring.find(it) for it in (second, secret)]
    other.time[0] += DOUBTED
    later = other.keyring.find(second)

    assert (None, None, "ci") == (unknown, known[0], known[1] and known[1].name)
    assert "cd" == (later and later.name)


def test_what_is_known_is_told_without_asking_the_database(world: World, other: Other) -> None:
    _, secret = create(world.parts, "ci", [Scope.READ])
    at_first = other.keyring.find_at_once(secret)
    # The first use is noted, which makes the next one read anew.
    for _ in range(2):
        other.keyring.find(secret)

    known = other.keyring.find_at_once(secret)
    other.time[0] += TRUSTED
    later = other.keyring.find_at_once(secret)

    assert (None, "ci", None) == (at_first, known and known.name, later)


def test_when_a_token_was_used_last_is_noted_to_the_minute(world: World, other: Other) -> None:
    token, secret = create(world.parts, "ci", [Scope.READ])
    noted = []

    for seconds in (0, 30, 31):
        world.clock.advance(timedelta(seconds=seconds))
        other.time[0] += 10
        other.keyring.find(secret)
        noted.append(_stored(world, token).last_used_at)

    begun = noted[0]
    assert begun is not None
    assert [begun, begun, begun + timedelta(seconds=61)] == noted


def _stored(world: World, token: Token) -> Token:
    with world.parts.database.read() as conn:
        found = tokens.get(conn, token.id)
    assert found is not None
    return found


# Tokens as event keys.


def test_a_token_that_may_send_is_an_event_key(world: World) -> None:
    keys = EventKeys(["configured"], Keyring(world.parts))
    _, sender = create(world.parts, "web", [Scope.EVENTS])
    _, reader = create(world.parts, "tool", [Scope.READ])

    keys("configured")
    keys(sender)

    with pytest.raises(ForbiddenError, match="scope events"):
        keys(reader)
    for unknown in ("orch_unknown", "", "unknown"):
        with pytest.raises(UnauthorizedError):
            keys(unknown)


def test_only_a_key_that_is_known_passes_without_being_looked_for(world: World) -> None:
    keys = EventKeys(["configured"], Keyring(world.parts))
    _, sender = create(world.parts, "web", [Scope.EVENTS])
    at_first = keys.pass_at_once(sender)
    for _ in range(2):
        keys(sender)

    passing = [keys.pass_at_once(it) for it in ("configured", sender, "orch_unknown", "unknown")]

    assert (False, [True, True, False, False]) == (at_first, passing)


class NoDatabase:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def test_configured_event_keys_never_cost_a_look_at_the_database(world: World) -> None:
    keys = EventKeys(["configured"], Keyring(replace(world.parts, database=NoDatabase())))

    keys("configured")

    assert (True, False) == (keys.pass_at_once("configured"), keys.pass_at_once("unknown"))
    with pytest.raises(UnauthorizedError):
        keys("unknown")


def test_an_event_whose_key_must_be_looked_for_goes_to_a_thread(world: World) -> None:
    keys = EventKeys([], Keyring(world.parts))
    _, sender = create(world.parts, "web", [Scope.EVENTS])
    app = IngestApp(
        lambda environ, start: [],
        lambda events: [event.id for event in events],
        keys,
        accept_soon=lambda events, done: done([event.id for event in events]),
        pass_at_once=keys.pass_at_once,
        clock=world.clock,
        limits=EventLimits(),
        server_kind="cloud",
    )

    at_first = _sent_soon(app, sender)
    for _ in range(2):
        keys(sender)

    assert (None, "200 OK") == (at_first, _sent_soon(app, sender))


def _sent_soon(app: IngestApp, key: str) -> str | None:
    """The status that is answered without a thread; None: it takes one."""
    from io import BytesIO

    body = orjson.dumps({"name": "shop/sold"})
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": f"/e/{key}",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
    }
    statuses = list[str]()
    taken = app.answer_soon(environ, lambda status, headers, body: statuses.append(status))
    return statuses[0] if taken else None


# Who did what.


def test_the_audit_says_which_token_did_what(world: World, asked: Callable[..., Any]) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.run(world.event(), status=Status.RUNNING)
    token = made(asked, "write", "apps", "admin", name="robot")
    did = [
        ("POST", "/v1/functions/shop-bill/pause", None),
        ("POST", "/v1/functions/shop-bill/resume", None),
        ("PATCH", "/v1/functions/shop-bill", {"concurrency": 3}),
        ("DELETE", f"/v1/runs/{run_id}", None),
        ("POST", "/v1/cancellations", {"app_id": "shop"}),
        ("DELETE", f"/v1/tokens/{token['id']}", None),
        ("DELETE", "/fn/remove?url=http://localhost:5000/api", None),
    ]

    statuses = [asked(method, path, token["token"], json=body).status_code for method, path, body in did[:5]]
    statuses += [asked(method, path, KEY).status_code for method, path, _ in did[5:]]

    assert [200] * len(did) == statuses
    robot = f"token robot ({token['id']})"
    rows = audited(world)
    assert ("token made", token["id"], "signing key") == rows[0]
    assert [
        ("function paused", "shop-bill", robot),
        ("function resumed", "shop-bill", robot),
        ("concurrency set", "shop-bill", robot),
        ("run cancelled", run_id, robot),
    ] == rows[1:5]
    assert [
        ("bulk cancel", robot),
        ("token revoked", "signing key"),
        ("app removed", "signing key"),
    ] == [(action, actor) for action, _, actor in rows[5:]]


def test_the_audit_has_room_for_a_token_of_any_name(world: World, asked: Callable[..., Any]) -> None:
    token = made(asked, "admin", name="n" * 255)

    made_by_it = asked("POST", "/v1/tokens", token["token"], json={"name": "other", "scopes": ["read"]})

    actor = audited(world)[-1][2] or ""
    assert 200 == made_by_it.status_code
    assert (True, True) == (token["id"] in actor, len(actor) <= (audit.c.actor.type.length or 0))


def test_where_nobody_is_asked_the_audit_names_the_api(world: World, client: FlaskClient) -> None:
    world.app(slugs=["shop-bill"])

    client.post("/v1/functions/shop-bill/pause")

    assert [("function paused", "shop-bill", "api")] == audited(world)
