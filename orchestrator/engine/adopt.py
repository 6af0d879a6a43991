"""Add an app by its URL, and let one move to another."""

from __future__ import annotations

from orchestrator.engine.parts import Parts
from orchestrator.engine.poll import ask
from orchestrator.engine.register import add_url, retire
from orchestrator.engine.sync import sync_url
from orchestrator.errors import ConflictError, NotFoundError, TransportError
from orchestrator.store import functions
from orchestrator.store.functions import App


def adopt(parts: Parts, url: str) -> App:
    """Add the app at this URL and have it declare its functions; one that cannot be asked is kept with the reason."""
    add_url(parts, url)
    ask(parts, _at(parts, url))
    return _at(parts, url)


def move(parts: Parts, app_id: str, url: str) -> App:
    """Have an app declare its functions at another URL, which is its own from then on.

    Raises `NotFoundError` for an app that is not there, `ConflictError` where nothing answers, or another app does:
    then it stays where it is.
    """
    app = _known(parts, app_id)
    if app.name is None:
        retire(parts, app_id)
        return adopt(parts, url)
    try:
        sync_url(parts, url)
    except TransportError as error:
        raise ConflictError(f"the app {app.name} stays at {app.url}: {error.message}") from error
    moved = _known(parts, app_id)
    if moved.url == app.url != url:
        raise ConflictError(f"the app {app.name} stays at {app.url}: it is another one that answered at {url}")
    return moved


def _at(parts: Parts, url: str) -> App:
    with parts.database.read() as conn:
        found = [app for app in functions.all_apps(conn) if app.url == url]
    if not found:
        raise ConflictError(f"the app at {url} has declared itself to be at another address")
    return found[0]


def _known(parts: Parts, app_id: str) -> App:
    with parts.database.read() as conn:
        found = next((app for app in functions.all_apps(conn) if app.id == app_id), None)
    if found is None:
        raise NotFoundError(f"there is no app {app_id[:60]}")
    return found
