"""Users: who may use the dashboard, in which role; each change leaves a note of who made it."""

from __future__ import annotations

import re
from datetime import datetime

from orchestrator import log
from orchestrator.core.role import Role
from orchestrator.engine.passwords import hash_password
from orchestrator.errors import ConflictError, NotFoundError, RequestError
from orchestrator.ids import new_uuid
from orchestrator.store import audit, sessions, users
from orchestrator.store.database import Connection, Database
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.users import User

_log = log.get(__name__)

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")


def user_name(text: str) -> str:
    """A name as it is kept; small and large letters are the same.  Raises `RequestError`."""
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise RequestError("name must have 1 to 64 letters, digits and . _ - + @, and begin with a letter or digit")
    return name


def user_role(text: str) -> Role:
    """A role by its name.  Raises `RequestError`."""
    try:
        return Role(text.strip().lower())
    except ValueError:
        raise RequestError(f"role must be one of {', '.join(Role)}") from None


@undisturbed
def add_user(database: Database, name: str, role: Role, password: str, now: datetime, actor: str | None = None) -> User:
    """Let somebody in.  Raises `RequestError`, and `ConflictError` when the name is taken."""
    user = User(new_uuid(), user_name(name), hash_password(password), role, now, None)
    with database.write() as conn:
        if not users.add(conn, user):
            raise ConflictError(f"there is a user {user.name} already")
        audit.record(conn, "user added", user.name, now, actor=actor, data={"role": role.value})
    _log.info("user added", user=user.name, role=role.value, actor=actor)
    return user


@undisturbed
def set_role(database: Database, name: str, role: Role, now: datetime, actor: str | None = None) -> User:
    """Give somebody another role, from their next request on.

    Raises `NotFoundError`, and `ConflictError` when nobody would be left to decide about users.
    """
    with database.write() as conn:
        user = _one(conn, name)
        if role is not Role.ADMIN:
            _leave_an_admin(conn, user)
        users.set_role(conn, user.id, role)
        audit.record(
            conn, "role set", user.name, now, actor=actor, data={"before": user.role.value, "after": role.value}
        )
    _log.info("role set", user=user.name, role=role.value, actor=actor)
    return user


@undisturbed
def set_password(
    database: Database, name: str, password: str, now: datetime, actor: str | None = None, keep: str | None = None
) -> User:
    """Give somebody another password; every session of theirs but `keep` ends.  Raises `RequestError`."""
    kept = hash_password(password)
    with database.write() as conn:
        user = _one(conn, name)
        users.set_password(conn, user.id, kept)
        sessions.end_all_of(conn, user.id, but=keep)
        audit.record(conn, "password set", user.name, now, actor=actor)
    _log.info("password set", user=user.name, actor=actor)
    return user


@undisturbed
def sign_out_everywhere(database: Database, name: str, now: datetime, actor: str | None = None) -> User:
    """End every session of somebody.  Raises `NotFoundError`."""
    with database.write() as conn:
        user = _one(conn, name)
        sessions.end_all_of(conn, user.id)
        audit.record(conn, "sessions ended", user.name, now, actor=actor)
    _log.info("sessions ended", user=user.name, actor=actor)
    return user


@undisturbed
def remove_user(database: Database, name: str, now: datetime, actor: str | None = None) -> User:
    """Let somebody in no more, at once.

    Raises `NotFoundError`, and `ConflictError` when nobody would be left to decide about users.
    """
    with database.write() as conn:
        user = _one(conn, name)
        _leave_an_admin(conn, user)
        users.remove(conn, user.id)
        audit.record(conn, "user removed", user.name, now, actor=actor)
    _log.info("user removed", user=user.name, actor=actor)
    return user


def _one(conn: Connection, name: str) -> User:
    user = users.by_name(conn, user_name(name))
    if user is None:
        raise NotFoundError(f"there is no user {name[:64]}")
    return user


def _leave_an_admin(conn: Connection, user: User) -> None:
    if users.lock_admins(conn) == {user.id}:
        raise ConflictError(f"{user.name} is the only admin: make another one first")
