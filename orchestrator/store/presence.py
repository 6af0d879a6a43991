"""Whether a process lives, as the database sees it.

On PostgreSQL and MySQL every process that takes leases holds a lock of its session's own; the server gives it free at
the moment the connection ends, whatever way the process ended.  So a death is noticed at once and not when leases run
out.  A process tells by its owner name whether it can be judged so: where the lock cannot be held (another database, a
pooler that shares sessions) leases simply run out.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Connection, bindparam, create_engine, func, pool, select, text
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.store import mysql
from orchestrator.store.database import Database

_MARK = "p-"


class _Locks(Protocol):
    """Locks of sessions, each with a name that an owner's is made into."""

    def take(self, conn: Connection, owner: str) -> None:
        """Take an owner's lock, unless somebody has it."""

    def is_mine(self, conn: Connection, owner: str) -> bool:
        """Whether this session has an owner's lock."""
        ...

    def held(self, conn: Connection, owners: Sequence[str]) -> set[str]:
        """The owners whose locks some session has."""
        ...


class Presence:
    """This process's sign of life, and the judge of others'."""

    def __init__(self, database: Database) -> None:
        """Choose the name; nothing is held before `begin`."""
        self._database = database
        self._locks = _LOCKS.get(database.kind)
        self._connection: Connection | None = None
        self.owner = uuid.uuid4().hex

    def begin(self) -> None:
        """Take the sign if the database can give one, and a name that tells whether it could; before any lease."""
        name = self.owner.removeprefix(_MARK)
        self.owner = _MARK + name
        if not self.keep():
            self.owner = name

    def keep(self) -> bool:
        """Hold the sign, taking it anew after a lost connection; False: it cannot be held now."""
        if self._locks is None or not self.owner.startswith(_MARK):
            return False
        try:
            if self._connection is None:
                make = mysql.engine if self._database.kind == "mysql" else create_engine
                engine = make(self._database.url, poolclass=pool.NullPool, hide_parameters=True)
                self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self._locks.take(self._connection, self.owner)
            held = self._locks.is_mine(self._connection, self.owner)
        except SQLAlchemyError:
            self.close()
            return False
        if not held:
            self.close()
        return held

    def missing(self, owners: Sequence[str]) -> set[str]:
        """Those of the owners that have a sign and do not hold it just now."""
        judged = {owner for owner in owners if owner.startswith(_MARK) and owner != self.owner}
        if not judged or self._connection is None or self._locks is None:
            return set()
        return judged - self._locks.held(self._connection, sorted(judged))

    def close(self) -> None:
        """Give the sign up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Advisory:
    """The advisory locks of PostgreSQL, which are numbers."""

    _TAKE = text("SELECT pg_try_advisory_lock(:key)")
    _MINE = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() "
        "AND classid = CAST(:high AS oid) AND objid = CAST(:low AS oid) AND objsubid = 1"
    )
    _HELD = text(
        "SELECT (CAST(classid AS bigint) << 32) | CAST(objid AS bigint) AS key FROM pg_locks "
        "WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
        "AND ((CAST(classid AS bigint) << 32) | CAST(objid AS bigint)) IN :keys"
    ).bindparams(bindparam("keys", expanding=True))

    def take(self, conn: Connection, owner: str) -> None:
        conn.execute(self._TAKE, {"key": _signed(_number(owner))})

    def is_mine(self, conn: Connection, owner: str) -> bool:
        key = _number(owner)
        return bool(conn.execute(self._MINE, {"high": key >> 32, "low": key & 0xFFFFFFFF}).scalar_one())

    def held(self, conn: Connection, owners: Sequence[str]) -> set[str]:
        of = {_number(owner): owner for owner in owners}
        rows = conn.execute(self._HELD, {"keys": [_signed(key) for key in of]})
        return {of[row.key & 0xFFFFFFFFFFFFFFFF] for row in rows}


class _Named:
    """The named locks of MySQL, which are the whole server's."""

    def take(self, conn: Connection, owner: str) -> None:
        conn.execute(select(func.get_lock(_name(owner), 0)))

    def is_mine(self, conn: Connection, owner: str) -> bool:
        return bool(conn.execute(select(func.is_used_lock(_name(owner)) == func.connection_id())).scalar_one())

    def held(self, conn: Connection, owners: Sequence[str]) -> set[str]:
        found = set[str]()
        for at in range(0, len(owners), _MOST):
            asked = owners[at : at + _MOST]
            users = conn.execute(select(*[func.is_used_lock(_name(owner)) for owner in asked])).one()
            found.update(owner for owner, user in zip(asked, users, strict=True) if user is not None)
        return found


#: Locks asked for in one statement.
_MOST = 100
_LOCKS: dict[str, _Locks] = {"postgresql": _Advisory(), "mysql": _Named()}


def _name(owner: str) -> str:
    """A name of 64 characters at most, which is MySQL's limit."""
    return f"orchestrator.{hashlib.sha256(owner.encode()).hexdigest()[:48]}"


def _number(owner: str) -> int:
    return int.from_bytes(hashlib.sha256(f"orchestrator:{owner}".encode()).digest()[:8], "big")


def _signed(key: int) -> int:
    """PostgreSQL's bigint has a sign."""
    return key - (1 << 64) if key >= 1 << 63 else key
