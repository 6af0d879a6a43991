"""Who asks for a page, whether they may, and whether a form that comes in is one that we made.

In development nobody is asked who they are.  Otherwise a cookie holds the secret of a session (see `engine.sign_in`).
Forms are taken only from our own pages: browsers say where a request comes from, and where there are sessions each form
carries a token besides, which no other site can know.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import cast
from urllib.parse import quote, urlsplit

from flask import Request, Response, current_app, g, redirect, request

from orchestrator.api.current import current_server
from orchestrator.api.dashboard.pages import routes
from orchestrator.core.role import Role
from orchestrator.engine.sign_in import LONGEST, Person, who
from orchestrator.errors import ForbiddenError, UnauthorizedError

KEY = "orchestrator.dashboard"
#: The field of a form that carries the session's token.
CSRF_FIELD = "csrf"
_COOKIE = "orchestrator_session"


@dataclass(frozen=True, slots=True)
class Doors:
    """How the dashboard of one server is entered."""

    #: Whether people must sign in; they need not in development.
    login: bool
    #: How long a session lasts from its last use.
    session_span: timedelta = timedelta(hours=12)


#: Where nobody is asked, everybody may do everything.
_ANYBODY = Person(name="", role=Role.ADMIN, session_id="", csrf="", user_id="")


def doors() -> Doors:
    """How this server's dashboard is entered."""
    return cast(Doors, current_app.extensions[KEY])


def admit() -> Response | None:
    """Let the present request pass, or send whoever asks to sign in.

    Raises `ForbiddenError` for what they may not do, and for a form that is not ours.
    """
    needed = routes.needs[request.endpoint or ""]
    if request.method == "POST" and not _is_from_here(request):
        raise ForbiddenError("this form was sent by another site, and is not taken")
    if needed is None:
        return None
    person = find()
    if person is None:
        return _to_sign_in()
    g.visitor = person
    if not person.role.includes(needed):
        raise ForbiddenError(f"this takes the role {needed.value}, and {person.name} is {person.role.value}")
    if request.method == "POST" and not hmac.compare_digest(_given_token().encode(), person.csrf.encode()):
        raise ForbiddenError("this form is of another session: open the page anew and try again")
    return None


def find() -> Person | None:
    """Whoever asks, if they are signed in (or need not be)."""
    if not doors().login:
        return _ANYBODY
    secret = request.cookies.get(_cookie_name(), "")
    if not secret:
        return None
    parts = current_server().parts
    return who(parts.database, secret, parts.clock.now(), doors().session_span)


def visitor() -> Person:
    """Whoever asked for the present page."""
    return cast(Person, g.visitor)


def actor() -> str | None:
    """Who asks, as the audit names them; None where nobody is asked."""
    return visitor().name or None


def let_in(answer: Response, secret: str) -> Response:
    """Give the browser the secret of a session."""
    answer.set_cookie(
        _cookie_name(), secret, max_age=LONGEST, httponly=True, samesite="Lax", secure=is_secure(), path="/"
    )
    return answer


def let_out(answer: Response) -> Response:
    """Take it away."""
    answer.delete_cookie(_cookie_name(), path="/", secure=is_secure(), httponly=True, samesite="Lax")
    return answer


def safe_next(path: str) -> str:
    """A path of ours to go on to; anything else leads to the first page."""
    ours = path.startswith("/") and not path.startswith("//") and path.isprintable() and "\\" not in path
    return path if ours else "/"


def is_secure() -> bool:
    """Whether the browser came by HTTPS; a proxy in front of us says so.  One who lies about it harms himself."""
    return request.is_secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"


def _to_sign_in() -> Response:
    """Lead a browser to the page of the login; a script of ours is told to go there."""
    if request.headers.get("HX-Request"):
        answer = Response(status=401)
        answer.headers["HX-Redirect"] = "/login"
        return answer
    if request.method != "GET":
        raise UnauthorizedError("the session is over: sign in, and try again")
    return cast(Response, redirect(f"/login?next={quote(request.full_path.rstrip('?'), safe='')}", 303))


def _is_from_here(asked: Request) -> bool:
    """Whether the browser says that one of our own pages sent this; what is no browser says nothing."""
    site = asked.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = asked.headers.get("Origin")
    if origin is None:
        return True
    # No page of another site can set a header of a form.
    hosts = {asked.host, asked.headers.get("X-Forwarded-Host", asked.host)}
    return urlsplit(origin).netloc in hosts


def _given_token() -> str:
    return request.form.get(CSRF_FIELD) or ""


def _cookie_name() -> str:
    """The name binds the cookie to this host and to HTTPS, where there is HTTPS."""
    return f"__Host-{_COOKIE}" if is_secure() else _COOKIE
