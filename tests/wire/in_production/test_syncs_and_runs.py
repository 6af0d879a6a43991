"""The official Python SDK in production mode: syncs, runs and addresses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import flask
import inngest
import pytest
from werkzeug.serving import make_server

from orchestrator.engine.examine import Examined, Examiner
from orchestrator.engine.register import add_url
from orchestrator.errors import RequestError
from orchestrator.protocol import signature
from tests.wire.harness import App, request, until
from tests.wire.in_production.kinds import MakeApp, Start, refusal_of
from tests.wire.production import EVENT_KEY, KEY, OTHER_EVENT_KEY, OTHER_KEY, ProductionServer


class TestSync:
    def test_an_app_declares_its_functions_in_its_signed_answer(
        self, server: ProductionServer, make_app: MakeApp
    ) -> None:
        app = make_app(server)

        server.sync(app.url)

        known = server.app()
        assert ("shop", app.url, "py", 1, None) == (
            known["name"],
            known["url"],
            known["sdk_language"],
            known["function_count"],
            known["error"],
        )
        [asked] = app.requests
        assert ("PUT", "in_band", "cloud") == (
            asked.method,
            asked.headers["X-Inngest-Sync-Kind"],
            asked.headers["X-Inngest-Server-Kind"],
        )
        assert asked.headers["X-Inngest-Signature"].startswith("t=")

    def test_the_urls_of_the_configuration_are_asked_by_themselves(
        self, server: ProductionServer, make_app: MakeApp
    ) -> None:
        app = make_app(server)

        add_url(server.embedded.parts, app.url)

        assert "shop" == until(lambda: server.app()["name"], "the app's name")

    def test_an_app_whose_public_address_is_another_leaves_no_place_holder(
        self, server: ProductionServer, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = make_app(server)
        monkeypatch.setenv("INNGEST_SERVE_PATH", "/elsewhere")
        add_url(server.embedded.parts, app.url)

        server.sync(app.url)

        assert app.url.replace("/api/inngest", "/elsewhere") == server.app()["url"]

    def test_an_app_that_is_told_to_may_register_itself(self, server: ProductionServer, make_app: MakeApp) -> None:
        app = make_app(server)

        status, answer = request("PUT", app.url, {})

        assert (200, True, 200) == (status, answer["ok"], answer["status"])
        assert ("shop", app.url) == (server.app()["name"], server.app()["url"])

    def test_an_app_may_register_itself_instead_of_answering_in_band(
        self, server: ProductionServer, make_app: MakeApp
    ) -> None:
        app = make_app(server, meddle=lambda environ: environ.pop("HTTP_X_INNGEST_SYNC_KIND", None))

        server.sync(app.url)

        assert "shop" == server.app()["name"]

    def test_an_app_with_another_key_refuses_our_question(self, server: ProductionServer, make_app: MakeApp) -> None:
        app = make_app(server, signing_key=OTHER_KEY)

        refused = refusal_of(server, app.url)

        assert f"the app at {app.url} refused our signature (HTTP 401): its signing key differs from ours" == (
            refused.message
        )
        assert "invalid_signing_key" == refused.code

    def test_we_refuse_an_app_with_another_key_that_registers_itself(
        self, server: ProductionServer, make_app: MakeApp
    ) -> None:
        app = make_app(
            server,
            signing_key=OTHER_KEY,
            meddle=lambda environ: environ.pop("HTTP_X_INNGEST_SYNC_KIND", None),
        )

        refused = refusal_of(server, app.url)

        assert f"we refused the registration of {app.url} (HTTP 401): its signing key differs from ours" == (
            refused.message
        )
        assert [] == server.request("GET", "/v1/apps")[1]["data"]

    def test_why_an_app_is_not_synced_is_kept_with_it(self, server: ProductionServer, make_app: MakeApp) -> None:
        app = make_app(server, signing_key=OTHER_KEY)

        add_url(server.embedded.parts, app.url)

        known = until(lambda: server.app() if server.app()["error"] else None, "the reason")
        assert ("invalid_signing_key", 0) == (known["error_code"], known["function_count"])
        assert "refused our signature" in known["error"]

    def test_an_app_in_development_mode_is_told_apart(self, server: ProductionServer) -> None:
        app = App(server.url, "shop", keys=None)
        app.serve([app.function("f", "shop/f")(lambda ctx: None)], sync=False)

        refused = refusal_of(server, app.url)
        app.stop()

        assert "Sync rejected since it's from Cloud but expected Dev Server" in refused.message


@pytest.fixture
def answering() -> Iterator[Callable[..., str]]:
    """Serve an app of no SDK that answers every request as told; gives its URL."""
    with ExitStack() as stack:

        def serve(body: bytes, **headers: str) -> str:
            web = flask.Flask("pretender")

            @web.route("/api/inngest", methods=["PUT"])
            def answer() -> flask.Response:
                names = {name.replace("_", "-"): value for name, value in headers.items()}
                return flask.Response(body, headers={"X-Inngest-SDK": "inngest-py:v0.5.19"} | names)

            http = make_server("127.0.0.1", 0, web, threaded=True)
            threading.Thread(target=http.serve_forever, daemon=True).start()
            stack.callback(http.shutdown)
            return f"http://127.0.0.1:{http.port}/api/inngest"

        yield serve


class TestInBandAnswers:
    BODY = b'{"app_id":"shop","url":"http://127.0.0.1:1/","functions":[]}'

    def signed(self, server: ProductionServer, key: str, ago: int = 0) -> str:
        return signature.sign(self.BODY, key, int(server.clock.now().timestamp()) - ago)

    def test_what_is_not_signed_is_not_believed(self, server: ProductionServer, answering: Callable[..., str]) -> None:
        refused = refusal_of(server, answering(self.BODY, X_Inngest_Sync_Kind="in_band"))

        assert "unsigned" == refused.code
        assert "did not sign its answer" in refused.message
        assert [] == server.request("GET", "/v1/apps")[1]["data"]

    @pytest.mark.parametrize(("key", "ago"), [(OTHER_KEY, 0), (KEY, 301), (KEY, -301)])
    def test_what_is_signed_with_another_key_or_long_ago_is_not_believed(
        self, server: ProductionServer, answering: Callable[..., str], key: str, ago: int
    ) -> None:
        proof = self.signed(server, key, ago)

        refused = refusal_of(server, answering(self.BODY, X_Inngest_Sync_Kind="in_band", X_Inngest_Signature=proof))

        assert "invalid_signing_key" == refused.code
        assert "fits no signing key of ours" in refused.message
        assert [] == server.request("GET", "/v1/apps")[1]["data"]

    def test_what_is_signed_is_registered(self, server: ProductionServer, answering: Callable[..., str]) -> None:
        proof = self.signed(server, KEY)

        server.sync(answering(self.BODY, X_Inngest_Sync_Kind="in_band", X_Inngest_Signature=proof))

        assert "shop" == server.app()["name"]

    def test_a_signed_answer_that_is_no_declaration_is_refused(
        self, server: ProductionServer, answering: Callable[..., str]
    ) -> None:
        body = b'{"app_id":"shop"}'
        proof = signature.sign(body, KEY, int(server.clock.now().timestamp()))

        with pytest.raises(RequestError, match="url is missing"):
            server.sync(answering(body, X_Inngest_Sync_Kind="in_band", X_Inngest_Signature=proof))


class TestRuns:
    def test_a_run_goes_from_the_sdks_event_to_its_end(self, server: ProductionServer, make_app: MakeApp) -> None:
        app = make_app(server)
        server.sync(app.url)

        [event_id] = app.client.send_sync(inngest.Event(name="shop/greet"))

        run = server.ended(event_id)
        assert ("Completed", 2, 0) == (run["status"], run["output"], server.failed_attempts(run["run_id"]))
        calls = app.calls(run["run_id"])
        assert 3 == len(calls)
        assert {"cloud"} == {call.headers["X-Inngest-Server-Kind"] for call in calls}

    def test_an_app_fetches_a_large_state_with_its_key(self, server: ProductionServer, make_app: MakeApp) -> None:
        app = make_app(server)
        server.sync(app.url)

        run = server.ended(server.send("shop/greet", {"size": 2_500_000}))

        assert ("Completed", 5_000_000) == (run["status"], run["output"])
        assert [False, False, True] == [call.body["use_api"] for call in app.calls(run["run_id"])]

    def test_a_call_that_the_app_refuses_says_so(self, server: ProductionServer, make_app: MakeApp) -> None:
        app = make_app(server)
        server.sync(app.url)
        app.stop()
        stranger = make_app(server, signing_key=OTHER_KEY)
        registration = server.request("GET", "/v1/apps/shop/functions")[1][0]["config"]
        moved = json.loads(json.dumps(registration).replace(app.url, stranger.url))
        server.request(
            "POST", "/fn/register", {"url": stranger.url, "appName": "shop", "sdk": "py:v1", "functions": [moved]}
        )

        [run] = server.runs_of(server.send("shop/greet"))
        server.failed(run["run_id"], 1)

        [failure] = [it for it in server.run(run["run_id"])["history"] if it["kind"] == "attempt failed"]
        assert "do both sides have the same signing key?" in json.dumps(failure)


class TestExaminer:
    """What `orchestrator doctor` learns of an app on the official SDK."""

    def look(self, server: ProductionServer, app: App, *keys: str, events: tuple[str, ...] = (EVENT_KEY,)) -> Examined:
        return Examiner(server.embedded.parts.http, server.clock, "cloud", keys, events).examine(app.url)

    def test_it_tells_sdk_functions_and_which_key_it_takes(self, server: ProductionServer, make_app: MakeApp) -> None:
        app = make_app(server)

        found = self.look(server, app, KEY)
        former = self.look(server, app, OTHER_KEY, KEY)

        assert (None, "cloud", 0, True) == (found.refused, found.mode, found.key, found.event_key_known)
        assert "inngest-py:" in found.sdk
        assert (found.functions or 0) >= 1
        assert 1 == former.key

    def test_it_tells_which_key_is_wrong(self, server: ProductionServer, make_app: MakeApp) -> None:
        app = make_app(server)

        assert "invalid_signing_key" == self.look(server, app, OTHER_KEY).code
        assert "missing_signing_key" == self.look(server, app).code
        assert self.look(server, app, KEY, events=(OTHER_EVENT_KEY,)).event_key_known is False

    def test_it_tells_an_app_in_development_mode(self, server: ProductionServer) -> None:
        app = App(server.url, "shop", keys=None)
        app.serve([app.function("f", "shop/f")(lambda ctx: None)], sync=False)

        found = self.look(server, app, KEY)
        app.stop()

        assert "mode" == found.code


class TestAddresses:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "2130706433", "169.254.169.254"])
    def test_an_app_at_a_private_address_cannot_register_unless_its_network_is_allowed(
        self, start: Start, host: str
    ) -> None:
        server = start(allowed_networks="192.168.7.0/24")
        body = {"url": f"http://{host}:1/api/inngest", "appName": "shop", "sdk": "py:v1", "functions": []}

        status, answer = server.request("POST", "/fn/register", body)

        assert 400 == status
        assert "address and may not be called" in answer["error"]
        assert "allowed_networks (ORCHESTRATOR_ALLOWED_NETWORKS)" in answer["error"]

    @pytest.mark.parametrize("host", ["1.1.1.1", "192.168.7.8", "nowhere.invalid"])
    def test_an_app_elsewhere_can(self, start: Start, host: str) -> None:
        server = start(allowed_networks="192.168.7.0/24", poll=False)
        body = {"url": f"http://{host}:1/api/inngest", "appName": "shop", "sdk": "py:v1", "functions": []}

        assert 200 == server.request("POST", "/fn/register", body)[0]

    def test_a_function_cannot_live_where_its_app_may_not(self, server: ProductionServer) -> None:
        runtime = {"type": "http", "url": "http://10.1.2.3/api/inngest?fnId=shop-f&stepId=step"}
        step = {"id": "step", "name": "step", "runtime": runtime}
        function = {"id": "shop-f", "name": "f", "triggers": [{"event": "shop/f"}], "steps": {"step": step}}
        body = {"url": "http://127.0.0.1:1/", "appName": "shop", "sdk": "py:v1", "functions": [function]}

        status, answer = server.request("POST", "/fn/register", body)

        assert 400 == status
        assert "10.1.2.3 is a private address" in answer["error"]

    def test_an_app_at_a_private_address_is_not_asked(self, start: Start, make_app: MakeApp) -> None:
        server = start(allowed_networks=())
        app = make_app(server)

        refused = refusal_of(server, app.url)

        assert "blocked_address" == refused.code
        assert "127.0.0.1 is a loopback address" in refused.message
        assert "allowed_networks (ORCHESTRATOR_ALLOWED_NETWORKS)" in refused.message
        assert [] == app.requests
