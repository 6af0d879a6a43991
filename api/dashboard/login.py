"""Signing in and out."""

from __future__ import annotations

from flask import Response, request

from orchestrator.api.current import current_server
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.templating import go, page
from orchestrator.api.dashboard.visitor import doors, find, let_in, let_out, safe_next, visitor
from orchestrator.core.role import Role
from orchestrator.engine.sign_in import sign_in, sign_out
from orchestrator.errors import RequestError
from orchestrator.store import users

_MOST = 2_000


@routes.open("/login")
def show_login() -> Response:
    """Ask for name and password; whoever is signed in goes on."""
    wanted = safe_next(request.args.get("next", "/")[:_MOST])
    if find() is not None:
        return go(wanted)
    return _form(wanted)


@routes.open("/login", "POST")
def log_in() -> Response:
    """Open a session."""
    wanted, name = safe_next(request.form.get("next", "/")[:_MOST]), request.form.get("name", "")[:_MOST]
    if not doors().login:
        return go(wanted)
    parts = current_server().parts
    try:
        secret = sign_in(
            parts.database,
            name,
            request.form.get("password", ""),
            request.remote_addr or "",
            parts.clock.now(),
            doors().session_span,
        )
    except RequestError as error:
        return _form(wanted, name, error)
    return let_in(go(wanted), secret)


@routes.action("/logout", Role.VIEWER)
def log_out() -> Response:
    """Close the session."""
    if not doors().login:
        return go("/")
    sign_out(current_server().parts.database, visitor())
    return let_out(go("/login"))


def _form(wanted: str, name: str = "", error: RequestError | None = None) -> Response:
    with current_server().parts.database.read() as conn:
        anybody = users.anybody(conn)
    status = error.status if error is not None else 200
    sentence = error.message if error is not None else ""
    return page("login.html", status, wanted=wanted, name=name, error=sentence, anybody=anybody)
