"""Apps: which are synced, which fail and why; asking one again, adding one by its URL, taking one out of service."""

from __future__ import annotations

from collections import Counter

from flask import Response, request

from orchestrator.api.current import current_server
from orchestrator.api.dashboard.lists import address, mark
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.run_filters import EVERY
from orchestrator.api.dashboard.templating import go, nothing_new, page
from orchestrator.api.dashboard.visitor import actor
from orchestrator.drivers.local import app_of
from orchestrator.drivers.reach import blocked
from orchestrator.engine.register import add_url, retire
from orchestrator.engine.sync import sync_now
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.protocol.endpoint import is_endpoint
from orchestrator.protocol.fields import Field
from orchestrator.protocol.function_config import read_url
from orchestrator.store import functions
from orchestrator.store.functions import App


@routes.page("/apps")
def show_apps() -> Response:
    """List the apps."""
    with current_server().parts.database.read() as conn:
        apps = functions.all_apps(conn)
        count = Counter(function.app_id for function in functions.functions_of(conn))
    listed = [(app, count[app.id], _way(app)) for app in apps]
    seen = mark(listed)
    if seen == request.args.get("seen"):
        return nothing_new()
    return page("apps.html", apps=listed, every=EVERY, poll=address("/apps", request.args, seen=seen))


@routes.action("/apps/add")
def add_app() -> Response:
    """Remember an app by its URL, and ask it at once."""
    parts = current_server().parts
    url = read_url(Field("the app", "url", request.form.get("url", "").strip()), ("http", "https"))
    reason = blocked([url], parts.settings.addresses)
    if reason is not None:
        raise RequestError(f"url: {reason}")
    add_url(parts, url)
    return _asked(url)


@routes.action("/apps/sync")
def sync_app() -> Response:
    """Ask an app for its functions."""
    app = _app()
    if _way(app) != "serve":
        raise RequestError("this app tells of itself: it cannot be asked")
    return _asked(app.url)


@routes.action("/apps/remove")
def remove_app() -> Response:
    """Take an app and its functions out of service; their runs stay."""
    app = _app()
    retire(current_server().parts, app.id, actor())
    return go("/apps", f"{app.name or app.url} is out of service")


def _asked(url: str) -> Response:
    synced = sync_now(current_server().parts, url, actor())
    if synced.error is not None:
        return go("/apps", f"Not synced: {synced.error}", bad=True)
    return go("/apps", "Synced; its functions are new" if synced.modified else "Synced; nothing is new")


def _app() -> App:
    wanted = request.form.get("app", "")
    with current_server().parts.database.read() as conn:
        found = next((app for app in functions.all_apps(conn) if app.id == wanted), None)
    if found is None:
        raise NotFoundError("there is no such app")
    return found


def _way(app: App) -> str:
    """How its functions are reached."""
    if app_of(app.url) is not None:
        return "in process"
    return "endpoints" if is_endpoint(app.url) else "serve"
