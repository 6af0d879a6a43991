"""Ask an app to declare its functions, and make out what went wrong when it does not.

In `dev` an app answers by registering itself.  In production the request is signed and asks for the declaration in
the answer ("in band"), which counts only with the app's own signature; an app may still register itself instead, and
its SDK then hands on what we answered, with a 200 even where we refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.drivers.base import Response
from orchestrator.drivers.signed import request_signed
from orchestrator.engine.parts import Parts
from orchestrator.engine.register import register
from orchestrator.errors import RequestError, TransportError, UnauthorizedError
from orchestrator.protocol import headers as names
from orchestrator.protocol import signature
from orchestrator.protocol.sync import parse_registration, ping_body
from orchestrator.store import audit, functions
from orchestrator.store.database import Connection
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.functions import App

_SHOWN = 500


def sync_url(parts: Parts, url: str) -> None:
    """Have the app at this URL declare its functions, in its answer or by registering itself.

    Raises `TransportError` that tells which side refused what, and `RequestError` for a declaration that is none.
    """
    in_band = parts.settings.server_kind == names.KIND_CLOUD
    answer = _ask(parts, url, in_band)
    _check(parts, url, answer)
    if in_band and answer.headers.get(names.SYNC_KIND) == names.SYNC_IN_BAND:
        _check_signature(parts, url, answer)
        register(parts, parse_registration(answer.body, answer.headers), asked_at=url)


@dataclass(frozen=True, slots=True)
class SyncedApp:
    """What asking an app came to: the app, if it is known by now, and why it was not synced."""

    app: App | None
    modified: bool = False
    error: str | None = None
    error_code: str | None = None


def sync_now(parts: Parts, url: str, actor: str | None = None) -> SyncedApp:
    """Have the app at this URL declare its functions because an operator wants it; never raises for what it answers.

    What the app declares is written by whoever it tells, so the audit is told before that who asked for it, and
    afterwards what came of it.
    """
    before = _note(parts, "app asked to sync", url, {"url": url}, actor)
    try:
        sync_url(parts, url)
        failed = None
    except (TransportError, RequestError) as error:
        failed = error
    why = {"error": failed.message, "error_code": failed.code} if failed is not None else None
    told = {"url": url, "error": failed.message if failed is not None else None}
    app = _note(parts, "app synced by hand", url, told, actor, why)
    if failed is not None:
        return SyncedApp(app, error=failed.message, error_code=failed.code)
    changed = before is None or (app is not None and app.checksum != before.checksum)
    return SyncedApp(app, modified=changed)


@undisturbed
def _note(
    parts: Parts,
    action: str,
    url: str,
    told: Mapping[str, object],
    actor: str | None,
    failed: dict[str, str] | None = None,
) -> App | None:
    """Tell the audit of the app at this URL, and keep why it was not synced; returns the app, if it is known."""
    with parts.database.write() as conn:
        app = _app_at(conn, url)
        if app is not None and failed is not None:
            functions.save_app(conn, app.id, failed, parts.clock.now())
            app = _app_at(conn, url)
        audit.record(conn, action, (app and app.name) or url, parts.clock.now(), actor=actor, data=told)
    return app


def _app_at(conn: Connection, url: str) -> App | None:
    return next((app for app in functions.all_apps(conn) if app.url == url), None)


def _ask(parts: Parts, url: str, in_band: bool) -> Response:
    headers = {names.CONTENT_TYPE: names.JSON, names.SERVER_KIND: parts.settings.server_kind}
    if in_band:
        headers[names.SYNC_KIND] = names.SYNC_IN_BAND
    return request_signed(
        parts.http,
        "PUT",
        url,
        headers=headers,
        body=ping_body(url),
        timeout=parts.settings.ping_timeout,
        keys=parts.settings.signing_keys,
        clock=parts.clock,
    )


def _check(parts: Parts, url: str, answer: Response) -> None:
    if not names.handled_by_sdk(answer.headers):
        raise TransportError(f"{url} answered HTTP {answer.status}, but not as an app on an SDK", "not_sdk")
    if answer.status == UnauthorizedError.status:
        raise _unauthorized(parts, url)
    if answer.status >= 400:
        said = answer.body.decode(errors="replace")[:_SHOWN]
        raise TransportError(f"{url} refused to declare its functions with HTTP {answer.status}: {said}", "refused")
    if answer.headers.get(names.SYNC_KIND) != names.SYNC_IN_BAND:
        _check_handed_on(url, answer.body)


def _unauthorized(parts: Parts, url: str) -> TransportError:
    if parts.settings.signing_keys:
        sentence = f"the app at {url} refused our signature (HTTP 401): its signing key differs from ours"
        return TransportError(sentence, "invalid_signing_key")
    sentence = f"the app at {url} wants signed requests (HTTP 401), and no signing key is set here"
    return TransportError(sentence, "missing_server_signing_key")


def _check_handed_on(url: str, body: bytes) -> None:
    """Find our own refusal in the answer of an app that registered itself."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return
    status = said.get("status") if isinstance(said, dict) else None
    if not isinstance(status, int) or status < 400:
        return
    if status == UnauthorizedError.status:
        sentence = f"we refused the registration of {url} (HTTP 401): its signing key differs from ours"
        raise TransportError(sentence, "invalid_signing_key")
    raise TransportError(f"we refused the registration of {url}: {str(said.get('error'))[:_SHOWN]}", "refused")


def _check_signature(parts: Parts, url: str, answer: Response) -> None:
    proof = answer.headers.get(names.SIGNATURE)
    if not proof:
        raise TransportError(f"the app at {url} did not sign its answer: is it in development mode?", "unsigned")
    now = int(parts.clock.now().timestamp())
    if not signature.verify(proof, answer.body, parts.settings.signing_keys, now):
        raise TransportError(
            f"we refused the answer of {url}: its signature fits no signing key of ours, or is older than "
            f"{signature.TOLERANCE // 60} minutes",
            "invalid_signing_key",
        )
