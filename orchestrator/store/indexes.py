"""Indexes of a part of the rows, where the database has such: MySQL indexes all rows, or by other columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Dialect, Index, text

from orchestrator.store import mysql

#: The databases that index a part.
_ABLE = ("sqlite", "postgresql")
#: Where an index tells on which databases it is made; all, if it does not.
ONLY = "only"


def partial(name: str, *columns: str, where: str) -> Index:
    """Of the rows that meet a condition; on MySQL of all."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


def partial_only(name: str, *columns: str, where: str) -> Index:
    """Of the rows that meet a condition; on MySQL, where all rows would make it useless, there is `instead` of it."""
    made = Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where), info={ONLY: _ABLE})
    made.ddl_if(callable_=_on(_ABLE))
    return made


def instead(name: str, *columns: str) -> Index:
    """What stands on MySQL for an index of a part."""
    made = Index(name, *columns, info={ONLY: mysql.NAMES})
    made.ddl_if(callable_=_on(mysql.NAMES))
    return made


def _on(databases: tuple[str, ...]) -> Callable[..., bool]:
    def is_made(_ddl: Any, _target: Any, _bind: Any, *, dialect: Dialect, **_options: Any) -> bool:
        return dialect.name in databases

    return is_made
