"""Which errors tell that the database cannot serve at this moment, and not that it was asked for something wrong.

It is away, goes away in the middle, has no room for one more, may not be written to (a standby after a failover), or
took a transaction back again and again.  Of what was being written nothing is known, and whoever asked may ask again.
"""

from __future__ import annotations

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from orchestrator.store import mysql
from orchestrator.store.disturbance import is_disturbance
from orchestrator.store.group import ClosedError

#: SQLite's: busy, locked, no memory, read only, interrupted, input or output failed, full, cannot open, locked oddly.
#: Its code for a statement that is wrong raises an `OperationalError`, too.
_SQLITE = (5, 6, 7, 8, 9, 10, 13, 14, 15)
#: PostgreSQL's word for a server that is read only; the others have a class of errors.
_READ_ONLY = "25006"


def is_outage(error: BaseException) -> bool:
    """Whether the error is the database's state and nobody's fault: the same request may succeed later."""
    if isinstance(error, NoConnectionError | ClosedError) or is_disturbance(error):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    cause = getattr(error, "orig", error)
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE
    if isinstance(cause, psycopg.Error):
        return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError) or cause.sqlstate == _READ_ONLY
    return mysql.is_outage(error)
