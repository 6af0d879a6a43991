"""Rows that are kept until a moment, and then deleted so many at once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, bindparam, delete, select


class Expiry:
    """Deletes the rows of a table whose `expires_at` has come, by their `key`, with what belongs to them elsewhere.

    They are locked first, so that none is taken into use anew before it is deleted; those that somebody is at just now
    are left alone, unwaited for.
    """

    def __init__(self, key: Column[Any], *belonging: Column[Any]) -> None:
        """`belonging` are columns of other tables that name a key."""
        self._expired = (
            select(key)
            .where(key.table.c.expires_at <= bindparam("now"))
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True)
        )
        self._columns = (*belonging, key)

    def delete(self, conn: Connection, now: datetime, most: int = 1000) -> int:
        """Delete up to `most`; returns how many."""
        old = list(conn.scalars(self._expired, {"now": now, "most": most}))
        if old:
            for column in self._columns:
                conn.execute(delete(column.table).where(column.in_(old)))
        return len(old)
