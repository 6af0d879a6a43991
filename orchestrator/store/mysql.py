"""What MySQL and MariaDB need to be told: how sessions behave, how tables are made, which errors are nobody's fault.

Sessions read what is committed (so that no gaps are locked), refuse what does not fit, and know one time zone.  Tables
compare text by its bytes, as the other databases do: by default MySQL takes `a`, `A`, `á` and `a ` for the same.

InnoDB locks the rows that a statement comes by on its way, in the order of whatever index it takes.  So transactions
that are right in themselves can stand in each other's way now and then, and the one that the server takes back is done
again (see `store.disturbance`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, ColumnElement, Engine, create_engine, event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.functions import FunctionElement

#: SQLAlchemy's names of the two.
NAMES = ("mysql", "mariadb")

#: Deadlock; waited too long for a lock; the row was changed since it was read (MariaDB 11).
_DISTURBED = (1213, 1205, 1020)
#: The codes of the client itself: it has lost the server, or cannot find it.
_CLIENTS = range(2000, 3000)
#: Full, no memory, too many connections, unknown to it, shut down, connections that broke off.
_AWAY = (1021, 1037, 1038, 1040, 1041, 1042, 1043, 1044, 1045, 1049, 1053, *range(1152, 1162), 1184)
#: Too many of one user, read only, interrupted, out of time, killed, silent for too long.
_NOT_NOW = (1203, 1226, 1290, 1792, 1836, 1317, 1969, 3024, 1927, 4031)
_SESSION = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', innodb_lock_wait_timeout = 20"
    # Of MariaDB's; see `store.database`.
    " /*M!100300 , idle_transaction_timeout = 20 */"
)


def engine(url: URL, **options: Any) -> Engine:
    """An engine whose sessions behave; with `isolation_level` AUTOCOMMIT for single statements."""
    made = create_engine(url, **({"isolation_level": "READ COMMITTED"} | options))

    @event.listens_for(made, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_SESSION)

    return made


def is_disturbance(error: BaseException) -> bool:
    """Whether the server took a transaction back for the sake of another one: nothing of it was written."""
    return _code(error) in _DISTURBED


def is_outage(error: BaseException) -> bool:
    """Whether the server cannot serve at this moment; of what was being written nothing is known."""
    code = _code(error)
    # A client that has lost its connection before says so with a 0.
    return code == 0 or code in (*_AWAY, *_NOT_NOW) or code in _CLIENTS


def _code(error: BaseException) -> object:
    """The number that the server or its client gave."""
    cause: BaseException = getattr(error, "orig", None) or error
    if not type(cause).__module__.startswith("pymysql"):
        return None
    return cause.args[0] if cause.args else None


class aside(FunctionElement[Any]):  # noqa: N801 - it reads as the functions of SQLAlchemy do
    """A column of rows that are found by their keys; MySQL shall not look for them by an index of this column.

    It would lock that index's entry before the row, while others, who come by the row, lock them the other way round.
    """

    inherit_cache = True
    name = "aside"

    def __init__(self, column: ColumnElement[Any]) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(aside)
def _plainly(element: aside, compiler: Any, **options: Any) -> str:
    return str(compiler.process(next(iter(element.clauses)), **options))


@compiles(aside, "mysql", "mariadb")
def _in_disguise(element: aside, compiler: Any, **options: Any) -> str:
    return f"coalesce({compiler.process(next(iter(element.clauses)), **options)})"


@compiles(CreateTable, "mysql", "mariadb")
def _create_table(element: CreateTable, compiler: Any, **options: Any) -> str:
    """By the bytes of texts, blanks at the end included; the two spell it differently."""
    collation = "utf8mb4_nopad_bin" if compiler.dialect.is_mariadb else "utf8mb4_0900_bin"
    made = compiler.visit_create_table(element, **options)
    return f"{made.rstrip()} ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE {collation}\n\n"
