"""Things that may happen once within a time: a key with a value and an expiry.

The first to claim a key keeps it until it expires; a later claim gets the first one's value.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from orchestrator.store.expiry import Expiry
from orchestrator.store.mysql import aside
from orchestrator.store.tables import keys

#: How long a sender's event id is remembered (FEATURES A1.6).
WINDOW = timedelta(hours=24)

_READ = select(keys.c.value, keys.c.expires_at).where(keys.c.key == bindparam("of_key")).with_for_update()
_TAKE_OVER = (
    update(keys)
    .where(keys.c.key == bindparam("of_key"), aside(keys.c.expires_at) <= bindparam("now"))
    .values(value=bindparam("new_value"), expires_at=bindparam("until"))
)
_EXPIRY = Expiry(keys.c.key)


def claim(conn: Connection, scope: tuple[str, ...], value: str, now: datetime, until: datetime) -> str:
    """Claim a key for `value` until `until`; returns the value of whoever holds it now."""
    key = _digest(scope)
    row = conn.execute(_READ, {"of_key": key}).first()
    if row is None:
        return _first(conn, key, value, until)
    if row.expires_at > now:
        return str(row.value)
    conn.execute(_TAKE_OVER, {"of_key": key, "now": now, "new_value": value, "until": until})
    return value


def release(conn: Connection, scope: tuple[str, ...], value: str) -> None:
    """Give back a key that was claimed for this value."""
    conn.execute(delete(keys).where(keys.c.key == _digest(scope), keys.c.value == value))


def expire(conn: Connection, now: datetime, most: int = 1000) -> int:
    """Delete up to `most` expired keys; returns how many."""
    return _EXPIRY.delete(conn, now, most)


def _digest(scope: tuple[str, ...]) -> str:
    return hashlib.sha256("\x1f".join(scope).encode()).hexdigest()


def _first(conn: Connection, key: str, value: str, until: datetime) -> str:
    from sqlalchemy.exc import IntegrityError

    try:
        with conn.begin_nested():
            conn.execute(insert(keys), {"key": key, "value": value, "expires_at": until})
    except IntegrityError:  # somebody was faster, between our look and our insert
        return str(conn.execute(_READ, {"of_key": key}).one().value)
    return value
