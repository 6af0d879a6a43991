"""The dashboard as requests see it: who may do what, forms that are not ours, and what browsers are told."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from orchestrator.api.app import create_app
from orchestrator.api.dashboard.assets import asset_url, assets, digest
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.core.effect import Status
from orchestrator.core.role import Role
from orchestrator.engine.passwords import hash_password
from orchestrator.engine.users import set_role
from orchestrator.errors import UnauthorizedError
from orchestrator.ids import new_uuid
from orchestrator.store import runs, sessions, users
from orchestrator.store.users import User
from tests.api.conftest import NOW

if TYPE_CHECKING:
    from tests.api.conftest import World

ID = "01J00000000000000000000000"
PASSWORD = "correct horse battery"
OPEN = {"/login", "/static/<version>/<name>", "/favicon.ico"}
#: Hashing takes a while, and what is tested here is not the hash.
HASHED = hash_password(PASSWORD)


def refuse(_request: object) -> None:
    raise UnauthorizedError


@dataclass
class House:
    """A server that asks who comes, and people with a browser each."""

    world: World
    app: Flask
    browsers: dict[str, FlaskClient] = field(default_factory=dict)

    def browser(self, role: str) -> FlaskClient:
        """The browser of somebody in this role, signed in."""
        if role not in self.browsers:
            user = User(new_uuid(), f"the-{role}", HASHED, Role(role), NOW, None)
            with self.world.parts.database.write() as conn:
                users.add(conn, user)
            self.browsers[role] = self.app.test_client()
            self._sign_in_at_once(self.browsers[role], user)
        return self.browsers[role]

    def _sign_in_at_once(self, browser: FlaskClient, user: User) -> None:
        """Without the password, which takes long to look at."""
        digest, now = hashlib.sha256(user.name.encode()).hexdigest(), self.world.clock.now()
        with self.world.parts.database.write() as conn:
            sessions.add(conn, digest, user.id, now, now + timedelta(hours=12))
        browser.set_cookie("orchestrator_session", user.name)

    def sign_in(self, browser: FlaskClient, name: str, password: str = PASSWORD, **more: str) -> TestResponse:
        return browser.post("/login", data={"name": name, "password": password} | more)

    def token(self, browser: FlaskClient) -> str:
        """What the forms of the browser's session carry."""
        found = re.search(r'name="csrf" value="(\w+)"', browser.get("/runs").text)
        assert found
        return found[1]


@pytest.fixture
def house(world: World) -> House:
    return House(world, create_app(world.parts, authorize=refuse, doors=Doors(login=True)))


@pytest.fixture
def browser(world: World) -> FlaskClient:
    """One that is not asked, as in development."""
    return create_app(world.parts, doors=Doors(login=False)).test_client()


def _routes() -> list[tuple[str, str, Role | None]]:
    """Every route of the dashboard: its method, a path it takes, and the role it needs."""
    app = Flask("routes")
    app.register_blueprint(routes.blueprint)
    found = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint in routes.needs:
            method = "POST" if "POST" in (rule.methods or ()) else "GET"
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda it: ID if it[1].endswith("id") else "x", rule.rule)
            found.append((method, path, routes.needs[rule.endpoint]))
    return found


GUARDED = [(method, path, role) for method, path, role in _routes() if role is not None]


def test_every_route_but_the_open_ones_needs_a_role() -> None:
    app = Flask("routes")
    app.register_blueprint(routes.blueprint)

    rules = {(rule.rule, rule.endpoint) for rule in app.url_map.iter_rules() if rule.endpoint != "static"}

    assert {endpoint for _, endpoint in rules} == set(routes.needs)
    assert {rule for rule, endpoint in rules if routes.needs[endpoint] is None} == OPEN


def test_whatever_changes_something_needs_more_than_a_viewer() -> None:
    own = {"/logout", "/account/password"}

    assert own == {path for method, path, role in GUARDED if method == "POST" and role is Role.VIEWER}


@pytest.mark.parametrize(("method", "path", "role"), GUARDED)
def test_whoever_is_not_signed_in_is_sent_to_sign_in(house: House, method: str, path: str, role: Role) -> None:
    answer = house.app.test_client().open(path, method=method)

    if method == "GET":
        assert (303, f"/login?next={quote(path, safe='')}") == (answer.status_code, answer.headers["Location"])
    else:
        assert 401 == answer.status_code


def test_a_route_is_closed_to_every_role_below_its_own(house: House) -> None:
    wrong = []
    for method, path, needed in GUARDED:
        if path == "/logout":
            continue
        for role in Role:
            browser = house.browser(role.value)
            data = {"csrf": house.token(browser)} if method == "POST" else None
            refused = browser.open(path, method=method, data=data).status_code == 403
            if refused == role.includes(needed):
                wrong.append((method, path, role, refused))

    assert [] == wrong


def test_a_role_that_is_taken_away_is_gone_with_the_next_request(house: House) -> None:
    browser = house.browser("operator")
    token = house.token(browser)

    set_role(house.world.parts.database, "the-operator", Role.VIEWER, NOW)

    assert 403 == browser.post(f"/runs/{ID}/cancel", data={"csrf": token}).status_code


@pytest.mark.parametrize("token", [None, "", "0" * 32, "ü"])
def test_a_form_without_the_token_of_the_session_is_refused(house: House, token: str | None) -> None:
    run_id = house.world.run(house.world.event())
    browser = house.browser("operator")

    answer = browser.post(f"/runs/{run_id}/cancel", data={"csrf": token} if token is not None else {})

    assert 403 == answer.status_code
    with house.world.parts.database.read() as conn:
        assert Status.RUNNING is runs.get(conn, run_id).status  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_form_of_another_site_is_refused_also_where_nobody_signs_in(
    browser: FlaskClient, world: World, headers: Mapping[str, str]
) -> None:
    run_id = world.run(world.event())

    assert 403 == browser.post(f"/runs/{run_id}/cancel", headers=headers).status_code
    assert 403 == browser.post("/login", headers=headers).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://localhost"},
        {"Origin": "http://a.example", "X-Forwarded-Host": "a.example"},
    ],
)
def test_a_form_of_ours_is_taken(browser: FlaskClient, world: World, headers: Mapping[str, str]) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.run(world.event())

    answer = browser.post(f"/runs/{run_id}/cancel", headers=headers)

    assert (303, f"/runs/{run_id}") == (answer.status_code, answer.headers["Location"])


def test_the_cookie_is_for_us_alone_and_over_https_for_https_alone(house: House) -> None:
    house.browser("viewer")
    plain = house.sign_in(house.app.test_client(), "the-viewer").headers["Set-Cookie"]
    behind = house.app.test_client().post(
        "/login", data={"name": "the-viewer", "password": PASSWORD}, headers={"X-Forwarded-Proto": "https"}
    )

    assert plain.startswith("orchestrator_session=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(plain.split("; "))
    assert behind.headers["Set-Cookie"].startswith("__Host-orchestrator_session=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(behind.headers["Set-Cookie"].split("; "))


def test_news_of_any_length_and_script_are_told_and_over_https_for_https_alone(browser: FlaskClient) -> None:
    sent = {"name": "\N{CJK UNIFIED IDEOGRAPH-65E5}" * 500, "data": "{}"}

    plain = browser.post("/events/send", data=sent)
    behind = browser.post("/events/send", data=sent, headers={"X-Forwarded-Proto": "https"})

    assert 4_000 > len(plain.headers["Set-Cookie"])
    assert "\N{CJK UNIFIED IDEOGRAPH-65E5}" * 333 in browser.get("/runs").text
    assert ("Secure" in plain.headers["Set-Cookie"], "Secure" in behind.headers["Set-Cookie"]) == (False, True)


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("/runs?status=failed", "/runs?status=failed"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/runs\\..", "/"),
        ("javascript:alert(1)", "/"),
        ("/\tx", "/"),
        ("", "/"),
    ],
)
def test_after_the_login_one_comes_to_a_path_of_ours(house: House, wanted: str, path: str) -> None:
    house.browser("viewer")

    answer = house.sign_in(house.app.test_client(), "the-viewer", next=wanted)

    assert path == answer.headers["Location"]


def test_a_wrong_password_is_told_on_the_form_and_too_many_are_too(house: House) -> None:
    house.browser("viewer")
    stranger = house.app.test_client()

    answers = [house.sign_in(stranger, "the-viewer", "wrong horse battery") for _ in range(11)]

    assert [401] * 10 + [429] == [it.status_code for it in answers]
    assert "Name or password is wrong." in answers[0].text
    assert not any("Set-Cookie" in it.headers for it in answers)


def test_the_login_says_how_to_begin_while_there_are_no_users(house: House) -> None:
    assert "orchestrator users new NAME --role admin" in house.app.test_client().get("/login").text


def test_whoever_signs_out_is_out(house: House) -> None:
    browser = house.browser("viewer")
    stolen = browser.get_cookie("orchestrator_session")
    assert stolen is not None

    browser.post("/logout", data={"csrf": house.token(browser)})

    thief = house.app.test_client()
    thief.set_cookie("orchestrator_session", stolen.value)
    assert [303, 303] == [it.get("/runs").status_code for it in (browser, thief)]


def test_a_session_that_runs_out_sends_an_open_page_to_sign_in(house: House) -> None:
    browser = house.browser("viewer")
    house.world.clock.advance(timedelta(hours=13))

    answer = browser.get("/runs/list", headers={"HX-Request": "true"})

    assert (401, "/login") == (answer.status_code, answer.headers["HX-Redirect"])


def test_the_api_takes_no_session_and_the_dashboard_no_other_origin(house: House) -> None:
    browser = house.browser("admin")

    assert 401 == browser.get(f"/v1/runs/{ID}").status_code
    assert "Access-Control-Allow-Origin" not in browser.get("/runs").headers
    assert "Access-Control-Allow-Origin" in browser.get(f"/v1/runs/{ID}").headers


def test_one_may_change_ones_own_password_by_telling_the_present_one(house: House) -> None:
    browser = house.browser("viewer")
    form = {"csrf": house.token(browser), "password": "another horse battery"}

    wrong = browser.post("/account/password", data=form | {"current": "wrong horse battery"})
    right = browser.post("/account/password", data=form | {"current": PASSWORD})

    assert (400, 303) == (wrong.status_code, right.status_code)
    assert 200 == browser.get("/runs").status_code
    assert 303 == house.sign_in(house.app.test_client(), "the-viewer", "another horse battery").status_code


def test_ones_own_password_is_not_guessed_by_a_session_that_was_stolen(house: House) -> None:
    browser = house.browser("viewer")
    form = {"csrf": house.token(browser), "password": "another horse battery"}

    wrong = [browser.post("/account/password", data=form | {"current": "wrong horse battery"}) for _ in range(11)]
    right = browser.post("/account/password", data=form | {"current": PASSWORD})

    assert [400] * 10 + [429] == [it.status_code for it in wrong]
    assert 429 == right.status_code


def test_every_page_says_what_it_may_do_and_is_not_kept(browser: FlaskClient) -> None:
    pages = [browser.get(path) for path in ("/runs", "/login", f"/runs/{ID}", "/nowhere")]
    pages.append(browser.get("/nowhere", headers={"Accept": "text/html"}))

    for page in [*pages[:3], pages[4]]:
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "no-store" == page.headers["Cache-Control"]
        assert "DENY" == page.headers["X-Frame-Options"]
    assert "application/json" == pages[3].mimetype
    assert (404, "text/html") == (pages[4].status_code, pages[4].mimetype)


def test_no_template_holds_a_script_or_a_style_of_its_own(browser: FlaskClient, world: World) -> None:
    run_id = world.finished(world.event(), Status.COMPLETED, "1")

    for path in ("/runs", "/users", "/account", "/login", f"/runs/{run_id}"):
        text = browser.get(path).text
        assert [] == re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", text)
        assert [] == re.findall(r"(?:src|href)=\"(?:https?:)?//", text)


def test_assets_are_kept_for_ever_under_the_path_of_their_version_alone(browser: FlaskClient) -> None:
    present, other = browser.get(asset_url("app.js")), browser.get("/static/0000/app.js")
    packed = browser.get(asset_url("htmx.js"), headers={"Accept-Encoding": "gzip"})

    assert "public, max-age=31536000, immutable" == present.headers["Cache-Control"]
    assert "no-cache" == other.headers["Cache-Control"]
    assert present.data == other.data == assets()["app.js"].body
    assert "gzip" == packed.headers["Content-Encoding"]
    assert len(packed.data) < len(assets()["htmx.js"].body) / 2
    assert 404 == browser.get(f"/static/{digest()}/../app.py").status_code
    assert 404 == browser.get(f"/static/{digest()}/secret.js").status_code


def test_without_doors_there_is_no_dashboard(world: World) -> None:
    client = create_app(world.parts).test_client()

    assert [404, 404] == [client.get(path).status_code for path in ("/runs", "/login")]
