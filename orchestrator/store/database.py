"""Connections and transactions.

SQLite allows one writer: a process-wide lock queues the writers of this process fairly (without it they poll the file
and the slowest waits tens of milliseconds), every writing transaction begins IMMEDIATE, and one connection serves them
all.  PostgreSQL and MySQL get a pool.  Reads run in autocommit: each statement sees what is committed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import psycopg
from sqlalchemy import Connection as Connection  # the rooms above name it by way of here
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, StatementError
from sqlalchemy.exc import IntegrityError as IntegrityError

from orchestrator.errors import ConfigError
from orchestrator.store import mysql
from orchestrator.store.disturbance import is_disturbance
from orchestrator.store.ends import StepEnds
from orchestrator.store.postgresql import HotPath

#: How safe SQLite's commits are: OFF loses to a power cut, FULL does not; neither loses to a killed process.
Synchronous = Literal["OFF", "NORMAL", "FULL"]


#: The most connections of one process to a database that is a server.
POOL_SIZE = 5
#: Seconds that whoever wants a connection waits for one, or for the lock of SQLite's file.
PATIENCE = 30.0
#: Begins to read one moment, on a connection that otherwise sees what is committed by the time of each statement.
_SNAPSHOT = {
    "sqlite": "BEGIN",
    "postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "mysql": "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    "mariadb": "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
}
#: Connections for transactions of several statements; the others are for single statements.
_WRITERS = 2
#: A process that is stopped, starved or cut off in the middle of a transaction keeps what it has locked from those who
#: would take it over, who step around locks.  The server ends such a transaction, before leases run out.
_END_IDLE = "SET idle_in_transaction_session_timeout = '20s'"


class Database:
    """One database, reached by many threads."""

    def __init__(
        self,
        url: str,
        *,
        synchronous: Synchronous = "FULL",
        pool_size: int = POOL_SIZE,
        patience: float = PATIENCE,
    ) -> None:
        self.url = make_url(url)
        named = self.url.get_backend_name()
        self.kind = "mysql" if named in mysql.NAMES else named
        if self.kind not in ("sqlite", "postgresql", "mysql"):
            raise ConfigError(f"database_url: {self.kind} is not served; use sqlite, postgresql or mysql")
        if self.kind == "sqlite":
            self._engine = _sqlite_engine(url, synchronous, patience, begin=True)
            self._readers = _sqlite_engine(url, synchronous, patience, begin=False)
        else:
            # No overflow: to make a connection costs more than to wait for one, and a small database has few to give.
            make = mysql.engine if self.kind == "mysql" else create_engine
            options: dict[str, Any] = {"max_overflow": 0, "pool_recycle": 1800, "hide_parameters": True}
            options["pool_timeout"] = patience
            self._engine = make(self.url, pool_size=_WRITERS, pool_pre_ping=True, **options)
            if self.kind == "postgresql":
                event.listen(self._engine, "connect", _end_idle)
            self._readers = make(
                self.url,
                pool_size=pool_size - _WRITERS,
                isolation_level="AUTOCOMMIT",
                # There is never anything to roll back.
                pool_reset_on_return=None,
                **options,
            )
        #: Each hop in one statement, where the database can do that.
        self.hot = HotPath(self._readers) if self.kind == "postgresql" else None
        #: Where planned steps end together.
        self.ends = StepEnds(self.hot, self.write, is_about_the_data)
        self._lock = threading.Lock()
        self._writer: Connection | None = None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A writing transaction: committed at the end, rolled back by an exception.

        Never make a network call or run user code inside.
        """
        if self.kind != "sqlite":
            with self._engine.begin() as connection:
                yield connection
            return
        with self._lock:
            if self._writer is None:
                self._writer = self._engine.connect()
            with self._writer.begin():
                yield self._writer

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading."""
        with self._readers.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection for reading on which every statement sees the same moment, for what several of them tell."""
        with self.read() as connection:
            connection.exec_driver_sql(_SNAPSHOT[self.kind])
            try:
                yield connection
            finally:
                if not connection.invalidated:  # what has ended needs no end, and has an error of its own to tell
                    connection.exec_driver_sql("ROLLBACK")

    @contextmanager
    def write_one(self) -> Iterator[Connection]:
        """A transaction of one statement: on PostgreSQL without what brackets one, three of four messages."""
        with self.read() if self.kind == "postgresql" else self.write() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection; the database may be used again afterwards."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        if self.hot is not None:
            self.hot.close()
        self._readers.dispose()
        self._engine.dispose()


def is_connection_lost(error: BaseException) -> bool:
    """Whether the database went away; what was being written may or may not have been committed."""
    if isinstance(error, DBAPIError):
        if is_disturbance(error):
            return False
        return error.connection_invalidated or isinstance(error, OperationalError)
    # What psycopg raises by itself, in the hot path.
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not is_disturbance(error)


def is_about_the_data(error: BaseException) -> bool:
    """Whether a write failed for what was written; anything else (a lost connection) would fail for any data."""
    if type(error).__module__.startswith("psycopg"):  # of a statement of the hot path
        return not is_connection_lost(error)
    return isinstance(error, DataError | IntegrityError) or type(error) is StatementError


def _end_idle(connection: Any, _record: Any) -> None:
    connection.execute(_END_IDLE)
    connection.commit()


def _sqlite_engine(url: str, synchronous: Synchronous, patience: float, *, begin: bool) -> Engine:
    engine = create_engine(
        url,
        connect_args={"check_same_thread": False, "timeout": patience, "isolation_level": None},
        hide_parameters=True,
        pool_size=64,
        max_overflow=64,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        busy = f"busy_timeout={round(patience * 1000)}"
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON", busy):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    if begin:

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
