"""The services that suites need: where they are, and what happens when one is missing.

A missing service skips the tests that need it, with the reason. With CI=true it is started where it is installed, since
it may have died on the way, and fails the tests that need it where it is not.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Connection, create_engine, make_url
from sqlalchemy.exc import DBAPIError

#: Where each service is looked for, unless TEST_<NAME>_URL says otherwise.
ADDRESSES = {
    "postgresql": "postgresql+psycopg://root@127.0.0.1:5432/test",
    "mariadb": "mysql+pymysql://root@127.0.0.1:3306/test",
    "redis": "redis://127.0.0.1:6379/0",
    "rabbitmq": "amqp://guest:guest@127.0.0.1:5672//",
}
START = Path(__file__).parents[1] / "scripts" / "services"
_numbers = count(1)


def require(name: str) -> str:
    """The URL of a service; skips the test when nothing listens there, or fails it where CI=true."""
    variable = f"TEST_{name.upper()}_URL"
    url = os.environ.get(variable) or ADDRESSES[name]
    usual_port = urlsplit(ADDRESSES[name]).port
    in_ci = os.environ.get("CI") == "true"
    missing = _missing(url, usual_port)
    if missing is not None and in_ci:
        subprocess.run([START, name], check=True)
        missing = _missing(url, usual_port)
    if missing is None:
        return url
    reason = f"{name} is needed and {missing}; start it (scripts/services does, if it is installed), or set {variable}"
    if in_ci:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@contextmanager
def own_database(name: str) -> Iterator[str]:
    """The URL of an empty database of one's own, dropped at the end whoever is still connected."""
    if name == "mariadb":
        with _own_mariadb() as url:
            yield url
        return
    home = make_url(require(name))
    own = home.set(database=f"test_{os.getpid()}_{next(_numbers)}")
    admin = create_engine(home, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as conn:
            conn.exec_driver_sql(f"DROP DATABASE IF EXISTS {own.database} WITH (FORCE)")
            conn.exec_driver_sql(f"CREATE DATABASE {own.database}")
            # Nobody looks at it after a power cut.
            conn.exec_driver_sql(f"ALTER DATABASE {own.database} SET synchronous_commit = off")
        yield own.render_as_string(hide_password=False)
        with admin.connect() as conn:
            conn.exec_driver_sql(f"DROP DATABASE {own.database} WITH (FORCE)")
    finally:
        admin.dispose()


@contextmanager
def _own_mariadb() -> Iterator[str]:
    home = make_url(require("mariadb"))
    own = home.set(database=f"test_{os.getpid()}_{next(_numbers)}")
    admin = create_engine(home, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as conn:
            conn.exec_driver_sql(f"DROP DATABASE IF EXISTS {own.database}")
            conn.exec_driver_sql(f"CREATE DATABASE {own.database}")
        yield own.render_as_string(hide_password=False)
        with admin.connect() as conn:
            _end_sessions(conn, own.database or "")
            conn.exec_driver_sql(f"DROP DATABASE {own.database}")
    finally:
        admin.dispose()


def _end_sessions(conn: Connection, database: str) -> None:
    """A transaction that is still open would keep the tables from being dropped."""
    query = "SELECT id FROM information_schema.processlist WHERE db = %s"
    for (session,) in conn.exec_driver_sql(query, (database,)).all():
        with suppress(DBAPIError):  # it has ended meanwhile
            conn.exec_driver_sql(f"KILL {session}")


def _missing(url: str, usual_port: int | None) -> str | None:
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or usual_port
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError as error:
        return f"nothing answers at {host}:{port} ({error.strerror or error})"
    return None
