"""Whether a process lives, as the database sees it.

On PostgreSQL every process that takes leases holds a session advisory lock of its own; the server gives it free at the
moment the connection ends, whatever way the process ended.  So a death is noticed at once and not when leases run out.
A process tells by its owner name whether it can be judged so: where the lock cannot be held (another database, a
pooler that shares sessions) leases simply run out.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, create_engine, pool, text
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.store.database import Database

_MARK = "p-"
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


class Presence:
    """This process's sign of life, and the judge of others'."""

    def __init__(self, database: Database) -> None:
        """Choose the name; nothing is held before `begin`."""
        self._database = database
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
        if self._database.kind != "postgresql" or not self.owner.startswith(_MARK):
            return False
        try:
            if self._connection is None:
                engine = create_engine(self._database.url, poolclass=pool.NullPool, hide_parameters=True)
                self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self._connection.execute(_TAKE, {"key": _signed(_key(self.owner))})
            key = _key(self.owner)
            held = self._connection.execute(_MINE, {"high": key >> 32, "low": key & 0xFFFFFFFF}).scalar_one()
        except SQLAlchemyError:
            self.close()
            return False
        if not held:
            self.close()
        return bool(held)

    def missing(self, owners: Sequence[str]) -> set[str]:
        """Those of the owners that have a sign and do not hold it just now."""
        judged = {_key(owner): owner for owner in owners if owner.startswith(_MARK) and owner != self.owner}
        if not judged or self._connection is None:
            return set()
        rows = self._connection.execute(_HELD, {"keys": [_signed(key) for key in judged]})
        return set(judged.values()) - {judged[row.key & 0xFFFFFFFFFFFFFFFF] for row in rows}

    def close(self) -> None:
        """Give the sign up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _key(owner: str) -> int:
    return int.from_bytes(hashlib.sha256(f"orchestrator:{owner}".encode()).digest()[:8], "big")


def _signed(key: int) -> int:
    """PostgreSQL's bigint has a sign."""
    return key - (1 << 64) if key >= 1 << 63 else key
