"""Register apps: what an app declares becomes the server's functions."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from orchestrator import log
from orchestrator.drivers.local import app_of
from orchestrator.drivers.reach import blocked
from orchestrator.engine.cron import replan
from orchestrator.engine.parts import Parts
from orchestrator.errors import RequestError, TransportError
from orchestrator.ids import named_uuid, new_uuid
from orchestrator.protocol.sync import Registration
from orchestrator.store import audit, crons, functions
from orchestrator.store.database import Connection, IntegrityError
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.functions import App, Declared
from orchestrator.store.jobs import Hint

_log = log.get(__name__)

#: Characters that are kept of what an app runs on.
_MOST_SDK = 64


@dataclass(frozen=True, slots=True)
class Synced:
    """What a registration came to."""

    app_id: str
    sync_id: str
    modified: bool


def register(parts: Parts, registration: Registration, *, asked_at: str | None = None) -> Synced:
    """Make the app's functions those it declares; the same declaration again changes nothing.

    `asked_at` is the URL it was found at, which the app may replace by another.  Raises `RequestError` when an address
    may not be called, or a function's slug belongs to another app.
    """
    _check_addresses(parts, registration)
    try:
        return _register(parts, registration, asked_at)
    except IntegrityError:  # many processes of one app begin at once: now what the first wrote is there to be found
        return _register(parts, registration, asked_at)


@undisturbed
def _register(parts: Parts, registration: Registration, asked_at: str | None) -> Synced:
    now = parts.clock.now()
    app_id = named_uuid("app", registration.app_name)
    hints = list[Hint]()
    with parts.database.write() as conn:
        known = functions.app_by_name(conn, registration.app_name)
        modified = known is None or known.checksum != registration.checksum
        for url in {registration.url, asked_at or registration.url}:
            functions.forget_unnamed(conn, url)
        if modified:
            _check_slugs(conn, app_id, registration)
            functions.save_app(conn, app_id, _values(registration), now)
            before = crons.lines_of(conn, app_id)
            functions.save_functions(conn, app_id, _declared(registration), now)
            hints = replan(conn, before, registration.functions, now)
        functions.save_app(conn, app_id, {"synced_at": now, "error": None, "error_code": None}, now)
    parts.announcer.announce(hints)
    if modified:
        _log.info(
            "app synced",
            app=registration.app_name,
            functions=len(registration.functions),
            url=registration.url,
            modified=True,
        )
    return Synced(app_id, new_uuid(), modified)


@undisturbed
def remove(parts: Parts, url: str, actor: str | None = None) -> bool:
    """Take the app at this URL out of service; False: there is none."""
    with parts.database.write() as conn:
        found = [app for app in functions.all_apps(conn) if app.url == url]
        for app in found:
            _retire(conn, app, parts.clock.now(), actor)
    return bool(found)


@undisturbed
def retire(parts: Parts, app_id: str, actor: str | None = None) -> bool:
    """Take one app out of service; False: there is none."""
    with parts.database.write() as conn:
        app = next((app for app in functions.all_apps(conn) if app.id == app_id), None)
        if app is not None:
            _retire(conn, app, parts.clock.now(), actor)
    return app is not None


def _retire(conn: Connection, app: App, now: datetime, actor: str | None) -> None:
    audit.record(conn, "app removed", app.name or app.url, now, actor=actor, data={"url": app.url})
    if app.name is None:
        functions.forget_unnamed(conn, app.url)
        return
    before = crons.lines_of(conn, app.id)
    functions.archive_app(conn, app.id, now)
    replan(conn, before, [], now)


def add_url(parts: Parts, url: str) -> None:
    """Remember an app by its URL, until it is synced and tells its name."""
    # Many workers that begin at once are told of the same apps: the others find that the first has added it.
    with suppress(IntegrityError):
        _add_url(parts, url)


@undisturbed
def _add_url(parts: Parts, url: str) -> None:
    with parts.database.write() as conn:
        if all(app.url != url for app in functions.all_apps(conn)):
            functions.save_app(conn, named_uuid("url", url), {"url": url, "name": None}, parts.clock.now())


@undisturbed
def note_failure(parts: Parts, app: App, error: TransportError) -> None:
    """Keep why an app could not be synced; told once for each new reason."""
    if app.error == error.message:
        return
    with parts.database.write() as conn:
        values = {"error": error.message, "error_code": error.code}
        functions.save_app(conn, app.id, values, parts.clock.now())
    _log.warning("app not synced", url=app.url, error=error.message, code=error.code)


def _check_addresses(parts: Parts, registration: Registration) -> None:
    if app_of(registration.url) is not None:
        return  # Nothing is sent to processes.
    urls = [registration.url, *(function.url for function in registration.functions)]
    reason = blocked(urls, parts.settings.addresses)
    if reason is not None:
        raise RequestError(f"the app {registration.app_name}: {reason}")


def _check_slugs(conn: Connection, app_id: str, registration: Registration) -> None:
    for function in registration.functions:
        taken = functions.function(conn, function.slug)
        if taken is not None and taken.app_id != app_id:
            raise RequestError(
                f'function "{taken.slug}": this id belongs to another app already; rename one of the two'
            )


def _declared(registration: Registration) -> list[Declared]:
    return [
        Declared(function, config, hashlib.sha256(config.encode()).hexdigest())
        for function, config in zip(registration.functions, registration.configs, strict=True)
    ]


def _values(registration: Registration) -> dict[str, object]:
    return {
        "name": registration.app_name,
        "url": registration.url,
        "sdk_language": registration.sdk_language[:_MOST_SDK],
        "sdk_version": registration.sdk_version[:_MOST_SDK],
        "framework": registration.framework[:_MOST_SDK],
        "method": "local" if app_of(registration.url) else "serve",
        "version": registration.app_version,
        "checksum": registration.checksum,
        "archived_at": None,
    }
