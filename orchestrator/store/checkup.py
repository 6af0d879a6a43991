"""What a person wants to know of a database before trusting it: `orchestrator doctor` asks, and the page of the queue.

Doctor asks over a connection of its own, made within seconds or not at all; nothing that it writes is committed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import URL, Connection, create_engine, func, insert, literal_column, make_url, pool, select

from orchestrator.store import mysql
from orchestrator.store.jobs import IS_LEASED, IS_READY
from orchestrator.store.tables import jobs, keys

#: Seconds to connect, and for one statement.
PATIENCE = 5
#: The largest value of a step, 4 MiB, written with an escape for each character, and room.
_PACKET = 16 * 1024 * 1024
#: Dead jobs are counted up to this.
MOST_DEAD = 1000

_TIMEOUTS: dict[str, dict[str, Any]] = {
    "postgresql": {"connect_timeout": PATIENCE, "options": f"-c statement_timeout={PATIENCE}s"},
    "mysql": {"connect_timeout": PATIENCE, "read_timeout": PATIENCE},
    "mariadb": {"connect_timeout": PATIENCE, "read_timeout": PATIENCE},
    "sqlite": {"timeout": PATIENCE},
}
_VERSION = {"postgresql": "SHOW server_version", "sqlite": "SELECT sqlite_version()"}
#: Connections that there may be for everybody, and those that there are.
_LIMIT = {
    "postgresql": "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')"
    "::int, (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')",
    "mysql": "SELECT @@max_connections, (SELECT count(*) FROM information_schema.processlist)",
}
_LIMIT["mariadb"] = _LIMIT["mysql"]
_NOW = {
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    "mysql": "SELECT unix_timestamp(sysdate(6))",
    "mariadb": "SELECT unix_timestamp(sysdate(6))",
}
_DEAD = select(func.count()).select_from(
    select(jobs.c.id).where(jobs.c.state == literal_column("5")).limit(MOST_DEAD).subquery()
)


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done, and what went wrong with it."""

    #: Since when the oldest job that is due has waited; None: nothing is due.
    due_since: datetime | None
    #: When the oldest lease that is over ran out; None: none is.
    overdue_since: datetime | None
    dead: int


def place(url: URL) -> str:
    """Where a database is, without names and passwords."""
    if url.get_backend_name() == "sqlite":
        return url.database or "in memory"
    port = f":{url.port}" if url.port else ""
    return f"{url.host or 'a local socket'}{port}/{url.database or ''}"


@contextmanager
def connect(url: str) -> Iterator[Connection]:
    """A connection that commits nothing."""
    kind = make_url(url).get_backend_name()
    engine = create_engine(url, poolclass=pool.NullPool, hide_parameters=True, connect_args=_TIMEOUTS.get(kind, {}))
    try:
        with engine.connect() as conn:
            yield conn
    finally:
        engine.dispose()


def version(conn: Connection) -> str:
    """The database's kind and version."""
    kind = conn.engine.url.get_backend_name()
    told = str(conn.exec_driver_sql(_VERSION.get(kind, "SELECT version()")).scalar_one())
    if kind in mysql.NAMES:
        return f"{'mariadb' if 'MariaDB' in told else 'mysql'} {told}"
    return f"{kind} {told}"


def shortcomings(conn: Connection) -> list[tuple[str, str]]:
    """What is wrong with how the database is set up, each with the way out."""
    if conn.engine.url.get_backend_name() not in mysql.NAMES:
        return []
    asked = "SELECT version(), @@max_allowed_packet, @@log_bin, @@binlog_format"
    told, packet, logs, form = conn.exec_driver_sql(asked).one()
    found = []
    least = (10, 6) if "MariaDB" in told else (8, 0)
    if tuple(int(part) for part in str(told).split(".")[:2]) < least:
        found.append((f"version {told} has no SKIP LOCKED", "use MariaDB 10.6 or MySQL 8.0, or a later version"))
    if int(packet) < _PACKET:
        found.append((f"max_allowed_packet is {packet}, and larger steps cannot be kept", "set it to 64M"))
    if int(logs) and form == "STATEMENT":
        found.append(("binlog_format is STATEMENT, with which nothing can be written", "set it to ROW or MIXED"))
    return found


def try_writing(conn: Connection) -> None:
    """Write a row and take it back; raises the driver's error."""
    row = {"key": f"doctor:{uuid.uuid4().hex}", "value": "", "expires_at": datetime.now(UTC)}
    try:
        conn.execute(insert(keys), row)
    finally:
        conn.rollback()


def connections(conn: Connection) -> tuple[int, int] | None:
    """How many connections there may be, and how many there are; None: the database knows no such limit."""
    asked = _LIMIT.get(conn.engine.url.get_backend_name())
    if asked is None:
        return None
    most, used = conn.exec_driver_sql(asked).one()
    return int(most), int(used)


def clock(conn: Connection) -> datetime | None:
    """The database's time; None: it has no clock of its own."""
    asked = _NOW.get(conn.engine.url.get_backend_name())
    return None if asked is None else datetime.fromtimestamp(float(conn.exec_driver_sql(asked).scalar_one()), UTC)


def work(conn: Connection, now: datetime) -> Work:
    """How far behind the workers are at `now`."""
    due = select(func.min(jobs.c.run_at)).where(IS_READY, jobs.c.run_at <= now)
    overdue = select(func.min(jobs.c.lease_until)).where(IS_LEASED, jobs.c.lease_until <= now)
    return Work(
        conn.execute(due).scalar_one(), conn.execute(overdue).scalar_one(), int(conn.execute(_DEAD).scalar_one())
    )
