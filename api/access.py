"""Who may ask for what: each route says which credential it needs, and each request knows who asks.

A route that says nothing is for the signing key alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from flask import current_app, g, request

from orchestrator.core.scope import Scope
from orchestrator.errors import ForbiddenError

View = TypeVar("View", bound=Callable[..., Any])

_ATTRIBUTE = "access"


class Way(Enum):
    """How a route is guarded, where no scope of a token opens it."""

    #: Everybody may ask.
    OPEN = "nothing"
    #: SDKs, by the signing key's token; no other token will do.
    SIGNING_KEY = "the signing key"
    #: The dashboard asks for a login by itself.
    LOGIN = "a login"


Access = Scope | Way


@dataclass(frozen=True, slots=True)
class Credential:
    """Whoever asks: `scopes` is what that lets them do (None: everything)."""

    actor: str
    scopes: frozenset[Scope] | None = None

    def allows(self, access: Access) -> bool:
        """Whether the bearer may ask for what needs this."""
        return self.scopes is None or access in self.scopes


#: Where nobody is asked, and whoever proves the signing key.
TRUSTED = Credential("api")
SIGNING_KEY = Credential("signing key")


def needs(access: Access) -> Callable[[View], View]:
    """Declare what a route needs; the OpenAPI document tells of it."""

    def declare(view: View) -> View:
        setattr(view, _ATTRIBUTE, access)
        documented = getattr(view, "_apidoc", {})
        view._apidoc = {**documented, _ATTRIBUTE: access}  # type: ignore[attr-defined]  # as flask-smorest keeps it
        return view

    return declare


def declared(view: Callable[..., Any]) -> Access | None:
    """What a view says it needs."""
    found = getattr(view, _ATTRIBUTE, None)
    assert found is None or isinstance(found, Access)
    return found


def admit(authorize: Callable[[Any], Credential | None]) -> None:
    """Find out who asks, and whether they may.  Raises `UnauthorizedError` and `ForbiddenError`.

    Paths that lead nowhere need no credential, and browsers ask for leave (OPTIONS) without one.
    """
    if request.endpoint is None or request.method == "OPTIONS":
        return
    access = declared(current_app.view_functions[request.endpoint]) or Way.SIGNING_KEY
    if access in (Way.OPEN, Way.LOGIN):
        return
    g.credential = authorize(request) or SIGNING_KEY
    require(access)


def require(access: Access) -> None:
    """Refuse the present request unless whoever asks may do this, too.  Raises `ForbiddenError`."""
    asking = credential()
    if not asking.allows(access):
        wish = f"the scope {access.value}" if isinstance(access, Scope) else "the signing key"
        raise ForbiddenError(f"{asking.actor} may not do this: it needs {wish}")


def credential() -> Credential:
    """Who asks; where nobody is asked for anything, somebody trusted."""
    found = g.get("credential", TRUSTED)
    assert isinstance(found, Credential)
    return found


def actor() -> str:
    """Who asks, as the audit names them."""
    return credential().actor
