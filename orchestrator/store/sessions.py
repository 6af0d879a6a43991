"""Who is signed in: what the browser holds is kept here as a hash only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from orchestrator.core.role import Role
from orchestrator.store.expiry import Expiry
from orchestrator.store.tables import sessions, users

_OPEN = (
    select(sessions.c.created_at, sessions.c.expires_at, users.c.id, users.c.name, users.c.role)
    .join(users, users.c.id == sessions.c.user_id)
    .where(sessions.c.id == bindparam("of_id"), sessions.c.expires_at > bindparam("now"))
)
_EXPIRY = Expiry(sessions.c.id)


@dataclass(frozen=True, slots=True)
class Session:
    """An open session and whose it is, with the role that person has now."""

    created_at: datetime
    expires_at: datetime
    user_id: str
    name: str
    role: Role


def add(conn: Connection, session_id: str, user_id: str, now: datetime, until: datetime) -> None:
    """Open a session."""
    conn.execute(insert(sessions).values(id=session_id, user_id=user_id, created_at=now, expires_at=until))


def open_one(conn: Connection, session_id: str, now: datetime) -> Session | None:
    """The session of this id; None: there is none, or it has expired."""
    row = conn.execute(_OPEN, {"of_id": session_id, "now": now}).first()
    return Session(row.created_at, row.expires_at, row.id, row.name, Role(row.role)) if row is not None else None


def prolong(conn: Connection, session_id: str, until: datetime) -> None:
    """Let a session last until then."""
    conn.execute(update(sessions).where(sessions.c.id == session_id).values(expires_at=until))


def end(conn: Connection, session_id: str) -> None:
    """Close one session."""
    conn.execute(delete(sessions).where(sessions.c.id == session_id))


def end_all_of(conn: Connection, user_id: str, but: str | None = None) -> None:
    """Close a person's sessions, all or all but one."""
    conn.execute(delete(sessions).where(sessions.c.user_id == user_id, sessions.c.id != (but or "")))


def expire(conn: Connection, now: datetime, most: int = 1000) -> int:
    """Delete up to `most` sessions that are over; returns how many."""
    return _EXPIRY.delete(conn, now, most)
