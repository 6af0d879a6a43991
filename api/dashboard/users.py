"""People: who may come in, in which role, and what everybody did."""

from __future__ import annotations

from flask import Response, request

from orchestrator.api.current import current_server
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.templating import go, page
from orchestrator.api.dashboard.visitor import actor, doors, visitor
from orchestrator.core.role import Role
from orchestrator.engine.sign_in import prove
from orchestrator.engine.users import (
    add_user,
    remove_user,
    set_password,
    set_role,
    sign_out_everywhere,
    user_role,
)
from orchestrator.errors import RequestError, UnauthorizedError
from orchestrator.store import audit, users

_ACTIONS = 100


@routes.page("/users", Role.ADMIN)
def show_users() -> Response:
    """List people, and what was done by whom."""
    parts = current_server().parts
    with parts.database.read() as conn:
        everybody = users.all_users(conn)
        open_sessions = users.sessions_of(conn, parts.clock.now())
        actions = audit.latest(conn, _ACTIONS)
    return page(
        "users.html", everybody=everybody, open_sessions=open_sessions, actions=actions, roles=list(Role), asked=doors()
    )


@routes.action("/users", Role.ADMIN)
def new_user() -> Response:
    """Let somebody in."""
    parts, form = current_server().parts, request.form
    role = user_role(form.get("role", ""))
    user = add_user(parts.database, form.get("name", ""), role, form.get("password", ""), parts.clock.now(), actor())
    return go("/users", f"{user.name} may sign in as {role.value}")


@routes.action("/users/<name>/role", Role.ADMIN)
def change_role(name: str) -> Response:
    """Give somebody another role."""
    parts, role = current_server().parts, user_role(request.form.get("role", ""))
    user = set_role(parts.database, name, role, parts.clock.now(), actor())
    return go("/users", f"{user.name} is {role.value} now")


@routes.action("/users/<name>/password", Role.ADMIN)
def change_password(name: str) -> Response:
    """Give somebody another password."""
    parts = current_server().parts
    user = set_password(parts.database, name, request.form.get("password", ""), parts.clock.now(), actor())
    return go("/users", f"{user.name} has another password now, and is signed out")


@routes.action("/users/<name>/sign-out", Role.ADMIN)
def end_sessions(name: str) -> Response:
    """Sign somebody out everywhere."""
    parts = current_server().parts
    user = sign_out_everywhere(parts.database, name, parts.clock.now(), actor())
    return go("/users", f"{user.name} is signed out")


@routes.action("/users/<name>/remove", Role.ADMIN)
def delete_user(name: str) -> Response:
    """Let somebody in no more."""
    parts = current_server().parts
    user = remove_user(parts.database, name, parts.clock.now(), actor())
    return go("/users", f"{user.name} is removed")


@routes.page("/account")
def show_account() -> Response:
    """Show whoever asks what is known of them."""
    return page("account.html")


@routes.action("/account/password", Role.VIEWER)
def change_own_password() -> Response:
    """Change one's own password; every other session of one's own ends."""
    parts, person, form = current_server().parts, visitor(), request.form
    if not doors().login:
        raise RequestError("nobody signs in here, so there is no password")
    now = parts.clock.now()
    try:
        prove(parts.database, person, form.get("current", ""), request.remote_addr or "", now)
    except UnauthorizedError:
        raise RequestError("the present password is another one") from None
    set_password(parts.database, person.name, form.get("password", ""), now, person.name, keep=person.session_id)
    return go("/account", "Your password is changed")
