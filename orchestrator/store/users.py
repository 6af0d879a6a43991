"""People who may use the dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.core.role import Role
from orchestrator.store.tables import sessions, users

#: People that are listed.
MOST = 1_000

_BY_NAME = select(users).where(users.c.name == bindparam("of_name"))
_LOCKED = _BY_NAME.with_for_update()
_ALL = select(users).order_by(users.c.name).limit(MOST)
_ANY = select(users.c.id).limit(1)
_ADMINS = (
    select(users.c.id).where(users.c.role == literal_column(f"'{Role.ADMIN.value}'")).limit(MOST).with_for_update()
)


@dataclass(frozen=True, slots=True)
class User:
    """A person; `password` is the hash of theirs."""

    id: str
    name: str
    password: str
    role: Role
    created_at: datetime
    signed_in_at: datetime | None

    def __repr__(self) -> str:
        return f"User(name={self.name!r}, role={self.role.value!r})"


def add(conn: Connection, user: User) -> bool:
    """Write a new person; False: the name is taken."""
    values = {name: getattr(user, name) for name in ("id", "name", "password", "created_at", "signed_in_at")}
    try:
        with conn.begin_nested():
            conn.execute(insert(users), values | {"role": user.role.value})
    except IntegrityError:
        return False
    return True


def by_name(conn: Connection, name: str) -> User | None:
    """The person of this name."""
    row = conn.execute(_BY_NAME, {"of_name": name}).first()
    return _user(row) if row is not None else None


def lock(conn: Connection, name: str) -> User | None:
    """The person of this name, who stays so to the end of the transaction."""
    row = conn.execute(_LOCKED, {"of_name": name}).first()
    return _user(row) if row is not None else None


def all_users(conn: Connection) -> list[User]:
    """Everybody, by name."""
    return [_user(row) for row in conn.execute(_ALL)]


def anybody(conn: Connection) -> bool:
    """Whether there is a person at all."""
    return conn.execute(_ANY).first() is not None


def lock_admins(conn: Connection) -> set[str]:
    """The ids of the admins, who stay so to the end of the transaction."""
    return {row.id for row in conn.execute(_ADMINS)}


def set_role(conn: Connection, user_id: str, role: Role) -> None:
    """Give a person another role; what they have open follows it from the next request on."""
    conn.execute(update(users).where(users.c.id == user_id).values(role=role.value))


def set_password(conn: Connection, user_id: str, password: str) -> None:
    """Give a person another password's hash."""
    conn.execute(update(users).where(users.c.id == user_id).values(password=password))


def signed_in(conn: Connection, user_id: str, now: datetime) -> None:
    """Note that somebody came."""
    conn.execute(update(users).where(users.c.id == user_id).values(signed_in_at=now))


def remove(conn: Connection, user_id: str) -> None:
    """Delete a person with all sessions."""
    conn.execute(delete(sessions).where(sessions.c.user_id == user_id))
    conn.execute(delete(users).where(users.c.id == user_id))


def sessions_of(conn: Connection, now: datetime) -> dict[str, int]:
    """How many sessions each person has open."""
    query = select(sessions.c.user_id, func.count().label("open")).where(sessions.c.expires_at > now)
    return {row.user_id: row.open for row in conn.execute(query.group_by(sessions.c.user_id).limit(MOST))}


def _user(row: Row[Any]) -> User:
    return User(row.id, row.name, row.password, Role(row.role), row.created_at, row.signed_in_at)
