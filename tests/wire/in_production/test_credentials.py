"""Keys in production: which are taken, which are refused, how they are exchanged, and that none is told."""

from __future__ import annotations

import hashlib
import io
import logging
from datetime import timedelta

import inngest
import pytest
from werkzeug.routing import IntegerConverter, Rule

from orchestrator import log
from orchestrator.api.access import Way, declared
from orchestrator.api.app import create_app
from orchestrator.engine.register import add_url
from orchestrator.protocol.signature import bearer_hash, without_prefix
from tests.wire.harness import request, until
from tests.wire.in_production.kinds import MakeApp, Start
from tests.wire.production import EVENT_KEY, KEY, OTHER_EVENT_KEY, OTHER_KEY, ProductionServer


class TestEventKeys:
    @pytest.mark.parametrize("key", [EVENT_KEY, OTHER_EVENT_KEY])
    def test_each_key_of_the_configuration_is_taken(self, server: ProductionServer, key: str) -> None:
        assert 200 == server.ask("POST", f"/e/{key}", None, {"name": "shop/greet"})[0]

    @pytest.mark.parametrize("key", ["NO_EVENT_KEY_SET", EVENT_KEY[:-1], EVENT_KEY + "0", EVENT_KEY.upper(), "%C3%A9"])
    def test_any_other_is_refused(self, server: ProductionServer, key: str) -> None:
        status, answer = server.ask("POST", f"/e/{key}", f"Bearer {bearer_hash(KEY)}", {"name": "shop/greet"})

        assert (401, 401, "Event key not found", []) == (status, answer["status"], answer["error"], answer["ids"])
        assert [] == server.request("GET", "/v1/events")[1]["data"]

    def test_the_sdk_reports_it(self, server: ProductionServer) -> None:
        client = inngest.Inngest(
            app_id="shop",
            api_base_url=server.url,
            event_api_base_url=server.url,
            is_production=True,
            signing_key=KEY,
            event_key="wrong",
        )

        with pytest.raises(Exception, match="Event key not found"):
            client.send_sync(inngest.Event(name="shop/greet"))


def some_values(rule: Rule) -> dict[str, object]:
    """A value for each argument of a route, of the kind that it takes."""
    return {
        name: 7 if isinstance(converter, IntegerConverter) else "01J00000000000000000000000"
        for name, converter in rule._converters.items()
    }


class TestBearer:
    def test_no_route_is_open_without_a_token_or_with_a_wrong_one(self, server: ProductionServer) -> None:
        app = create_app(server.embedded.parts)
        routes = app.url_map.bind("localhost")
        wrong = [
            None,
            "Bearer",
            "Bearer wrong",
            f"Bearer {bearer_hash(OTHER_KEY)}",
            f"Basic {bearer_hash(KEY)}",
            bearer_hash(KEY),
            f"Bearer {bearer_hash(KEY)[:-1]}",
        ]
        paths = {
            (method, routes.build(rule.endpoint, some_values(rule), method=method))
            for rule in routes.map.iter_rules()
            if declared(app.view_functions[rule.endpoint]) not in (Way.OPEN, Way.LOGIN)
            for method in (rule.methods or set()) - {"OPTIONS"}
        }

        answers = {(method, path): {server.ask(method, path, given)[0] for given in wrong} for method, path in paths}

        assert {pair: {401} for pair in paths} == answers
        assert {"/fn/register", "/fn/remove", "/dev", "/v1/events", "/v0/connect/start"} <= {path for _, path in paths}

    @pytest.mark.parametrize("token", [bearer_hash(KEY), f"signkey-prod-{bearer_hash(KEY)}", KEY, without_prefix(KEY)])
    def test_the_hash_with_or_without_its_prefix_and_the_key_itself_are_taken(
        self, server: ProductionServer, token: str
    ) -> None:
        assert 200 == server.ask("GET", "/v1/events", f"Bearer {token}")[0]

    def test_a_refusal_is_readable_for_the_sdks(self, server: ProductionServer) -> None:
        status, answer = server.ask("POST", "/fn/register", "Bearer wrong", {})

        assert (401, 401, "unauthorized") == (status, answer["status"], answer["code"])
        assert answer["error"].startswith("Authentication failed")

    def test_that_it_is_up_is_told_to_everybody_and_nothing_of_development_to_nobody(
        self, server: ProductionServer
    ) -> None:
        assert [200, 401, 404] == [
            server.ask("GET", "/health", None)[0],
            server.ask("GET", "/dev", None)[0],
            server.request("GET", "/dev")[0],
        ]


class TestRotation:
    def test_no_call_fails_while_the_server_has_the_new_key_and_the_app_the_former(
        self, start: Start, make_app: MakeApp
    ) -> None:
        server = start(signing_key=OTHER_KEY, signing_key_fallback=KEY)
        app = make_app(server, signing_key=KEY)

        server.sync(app.url)
        assert 200 == request("PUT", app.url, {})[1]["status"]
        run = server.ended(server.send("shop/greet", {"size": 2_500_000}))

        assert ("Completed", 0) == (run["status"], server.failed_attempts(run["run_id"]))
        assert {0, 1} >= {len([it for it in run["steps"] if it["attempts"] > 1])}

    def test_no_call_fails_while_the_app_has_the_new_key_and_the_server_the_former(
        self, start: Start, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = start()
        monkeypatch.setenv("INNGEST_SIGNING_KEY_FALLBACK", KEY)
        app = make_app(server, signing_key=OTHER_KEY)

        server.sync(app.url)
        assert 200 == request("PUT", app.url, {})[1]["status"]
        run = server.ended(server.send("shop/greet", {"size": 2_500_000}))

        assert ("Completed", 0) == (run["status"], server.failed_attempts(run["run_id"]))

    def test_a_run_under_way_outlives_the_exchange_of_both_sides(
        self, start: Start, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = start()
        app = make_app(before)
        before.sync(app.url)
        [run] = before.runs_of(before.send("shop/greet", {"nap": True}))
        before.step(run["run_id"], "nap", "Sleeping")
        before.stop()

        after = start(signing_key=OTHER_KEY, signing_key_fallback=KEY, port=before.embedded.port)
        after.skip(timedelta(minutes=61))
        ended = after.run_ended(run["run_id"])
        app.stop()
        monkeypatch.setenv("INNGEST_SIGNING_KEY_FALLBACK", KEY)
        renewed = make_app(after, signing_key=OTHER_KEY)
        assert 200 == request("PUT", renewed.url, {})[1]["status"]
        next_run = after.ended(after.send("shop/greet"))

        assert ["Completed", "Completed"] == [ended["status"], next_run["status"]]
        assert [0, 0] == [after.failed_attempts(it["run_id"]) for it in (ended, next_run)]


#: Loggers of the app and its SDK, which live in this process too.
THEIRS = ("httpx", "httpcore", "inngest", "werkzeug", "shop")


def test_nothing_secret_is_logged_or_answered(
    start: Start, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    stream = io.StringIO()
    log.configure(log.render_json, "debug", stream)
    caplog.set_level(logging.DEBUG)
    try:
        server = start(signing_key=KEY, signing_key_fallback=OTHER_KEY)
        app = make_app(server, signing_key=OTHER_KEY)
        server.sync(app.url)
        request("PUT", app.url, {})
        run = server.ended(app.client.send_sync(inngest.Event(name="shop/greet", data={"size": 2_500_000}))[0])
        stranger = make_app(server, signing_key="signkey-prod-" + "c4" * 32)
        add_url(server.embedded.parts, stranger.url)
        until(lambda: "app not synced" in stream.getvalue(), "the refusal of the stranger")
        for path in ("/v1/events", "/v1/apps", f"/v1/runs/{run['run_id']}", "/v1/apps/shop/functions", "/dev", "/x"):
            server.request("GET", path)
        server.ask("GET", "/v1/events", "Bearer wrong")
        server.ask("POST", f"/e/{EVENT_KEY}", None, [{"name": ""}])
        server.ask("POST", "/e/wrong", None, {"name": "shop/greet"})
    finally:
        log.reset()

    assert "Completed" == run["status"]
    records = [it.getMessage() for it in caplog.records if not it.name.startswith(THEIRS)]
    told = "\n".join([stream.getvalue(), *records, *server.embedded.answers, repr(server.embedded.config)])
    keys = [KEY, OTHER_KEY, *map(without_prefix, (KEY, OTHER_KEY)), *map(bearer_hash, (KEY, OTHER_KEY))]
    events = [EVENT_KEY, OTHER_EVENT_KEY]
    hashes = [hashlib.sha256(key.encode()).hexdigest() for key in (*keys, *events)]
    assert [] == [secret for secret in (*keys, *events, *hashes) if secret.lower() in told.lower()]
    assert "run completed" in told
