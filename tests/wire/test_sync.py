"""Apps become known: by themselves, by URL, by looking around; and when they cannot, the reason is kept."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import flask
import inngest
import inngest.flask
import pytest
from werkzeug.serving import BaseWSGIServer, make_server

from orchestrator.engine.poll import PORTS
from tests.crash.process import free_port
from tests.wire.harness import App, Embedded, Server, until


def web_app(server_url: str, app_id: str) -> flask.Flask:
    client = inngest.Inngest(app_id=app_id, api_base_url=server_url, event_api_base_url=server_url, is_production=False)

    @client.create_function(fn_id="plain", trigger=inngest.TriggerEvent(event="sync/plain"))
    def plain(ctx: inngest.ContextSync) -> object:
        return app_id

    web = flask.Flask(app_id)
    inngest.flask.serve(web, client, [plain])
    return web


def serve(web: flask.Flask, port: int) -> BaseWSGIServer:
    http = make_server("127.0.0.1", port, web, threaded=True)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    return http


@pytest.fixture
def started() -> Iterator[list[BaseWSGIServer]]:
    running: list[BaseWSGIServer] = []
    yield running
    for http in running:
        http.shutdown()


def apps(server: Server) -> list[dict[str, object]]:
    return server.request("GET", "/v1/apps")[1]["data"]


def test_an_app_given_by_url_is_synced_though_it_starts_later(started: list[BaseWSGIServer]):
    port = free_port()
    server = Embedded(sdk_urls=(f"http://127.0.0.1:{port}/api/inngest",))
    unreachable = until(lambda: [app for app in apps(server) if app["error"]], "the reason")

    started.append(serve(web_app(server.url, "late"), port))

    until(lambda: [app for app in apps(server) if app["name"] == "late" and not app["error"]], "the app")
    assert "late" == server.ended(server.send("sync/plain"))["output"]
    assert str(port) in str(unreachable[0]["error"])
    assert 1 == len(apps(server))
    server.stop()


def test_a_url_where_no_app_on_an_sdk_answers_is_told(started: list[BaseWSGIServer]):
    port = free_port()
    web = flask.Flask("other")
    web.add_url_rule("/api/inngest", view_func=lambda: "hello", methods=["GET", "PUT"])
    started.append(serve(web, port))

    server = Embedded(sdk_urls=(f"http://127.0.0.1:{port}/api/inngest",))

    [app] = until(lambda: [app for app in apps(server) if app["error"]], "the reason")
    assert "SDK" in str(app["error"])
    server.stop()


def test_an_app_on_a_usual_port_is_found(started: list[BaseWSGIServer]):
    port = next(port for port in PORTS if port > 1024 and not listens(port))
    server = Embedded(discovery=True)

    started.append(serve(web_app(server.url, "found"), port))

    until(lambda: [app for app in apps(server) if app["name"] == "found"], "the app")
    assert "found" == server.ended(server.send("sync/plain"))["output"]
    server.stop()


def test_a_changed_app_is_noticed_by_polling(started: list[BaseWSGIServer]):
    port = free_port()
    url = f"http://127.0.0.1:{port}/api/inngest"
    server = Embedded(sdk_urls=(url,), poll=True, poll_interval="1s")
    first = serve(web_app(server.url, "polled"), port)
    until(lambda: [app for app in apps(server) if app["name"] == "polled"], "the app")
    first.shutdown()
    first.server_close()

    client = inngest.Inngest(
        app_id="polled", api_base_url=server.url, event_api_base_url=server.url, is_production=False
    )

    @client.create_function(fn_id="newer", trigger=inngest.TriggerEvent(event="sync/newer"))
    def newer(ctx: inngest.ContextSync) -> object:
        return "newer"

    web = flask.Flask("polled")
    inngest.flask.serve(web, client, [newer])
    started.append(serve(web, port))

    def slugs() -> list[str]:
        return [function["id"] for function in server.request("GET", "/v1/apps/polled/functions")[1]]

    until(lambda: slugs() == ["polled-newer"], "the new function")
    assert "newer" == server.ended(server.send("sync/newer"))["output"]
    server.stop()


def test_the_same_declaration_again_changes_nothing_and_a_removed_app_starts_nothing(server: Server, app: App):
    @app.function("plain", "sync/once")
    def plain(ctx: inngest.ContextSync) -> object:
        return "run"

    app.serve([plain])
    again = App(server.url, app.app_id, server.keys)
    status, removed = server.request("DELETE", f"/fn/remove?url={app.url}")

    assert 200 == status, removed
    assert 404 == server.request("DELETE", f"/fn/remove?url={app.url}")[0]
    assert [] == [it for it in apps(server) if it["name"] == app.app_id]
    again.serve([plain])
    assert "run" == server.ended(server.send("sync/once"))["output"]
    again.stop()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
