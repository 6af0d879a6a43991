"""Allowances: how many calls a function's limits on concurrency allow, as its app says or as an operator wants.

They are read whenever a slot is taken, so that a change counts at once, also for calls that wait.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, literal_column, or_, select, update

from orchestrator.core.concurrency import limit_id
from orchestrator.core.function import Concurrency
from orchestrator.store.tables import concurrency_limits, functions, pools

_OF = concurrency_limits.c.function_id == bindparam("of_function")
_READ = select(
    concurrency_limits.c.function_id,
    concurrency_limits.c.id,
    func.coalesce(concurrency_limits.c.override, concurrency_limits.c.declared).label("allowed"),
).where(concurrency_limits.c.function_id.in_(bindparam("ids", expanding=True)))
_LIST = select(concurrency_limits).where(_OF).order_by(concurrency_limits.c.position)
_LIST_MANY = (
    select(concurrency_limits)
    .where(concurrency_limits.c.function_id.in_(bindparam("ids", expanding=True)))
    .order_by(concurrency_limits.c.function_id, concurrency_limits.c.position)
)
_OVERRIDE = update(concurrency_limits).where(_OF, concurrency_limits.c.id == bindparam("of_limit"))
_WAITING = (
    select(pools.c.key)
    .where(
        pools.c.waiting > literal_column("0"),
        pools.c.limit_id.in_(bindparam("ids", expanding=True)),
        or_(pools.c.function_id.is_(None), pools.c.function_id == bindparam("of_function")),
    )
    .order_by(pools.c.key)
)


@dataclass(frozen=True, slots=True)
class Allowance:
    """One limit of a function: what its app declares, and what an operator wants instead."""

    limit_id: str
    declared: int
    override: int | None
    #: Its key (an expression), whom it is shared with, and whether it is about whole runs.
    key: str | None = None
    scope: str = "fn"
    whole_run: bool = False

    @property
    def allowed(self) -> int:
        """What counts."""
        return self.declared if self.override is None else self.override


def save(conn: Connection, function_id: str, limits: Sequence[Concurrency]) -> None:
    """Write what a function declares; an operator's wish for a limit that is still there stays."""
    wishes = {it.limit_id: it.override for it in of_function(conn, function_id)}
    rows = dict[str, dict[str, object]]()
    for position, limit in enumerate(limits):
        row = {"function_id": function_id, "id": limit_id(limit), "position": position, "declared": limit.limit}
        row |= {"key": limit.key, "scope": limit.scope, "whole_run": limit.whole_run}
        # The same limit declared twice: both are promises, so that the smaller number counts.
        known = rows.get(limit_id(limit))
        if known is None or limit.limit < int(str(known["declared"])):
            rows[limit_id(limit)] = row | {"override": wishes.get(limit_id(limit))}
    conn.execute(delete(concurrency_limits).where(concurrency_limits.c.function_id == function_id))
    if rows:
        conn.execute(insert(concurrency_limits), list(rows.values()))


def of_functions(conn: Connection, function_ids: Collection[str]) -> Mapping[tuple[str, str], int]:
    """What the limits of these functions allow, by function and limit."""
    rows = conn.execute(_READ, {"ids": list(function_ids)})
    return {(row.function_id, row.id): row.allowed for row in rows}


def of_function(conn: Connection, function_id: str) -> list[Allowance]:
    """The limits of one function, in the order it declares them."""
    return [_allowance(row) for row in conn.execute(_LIST, {"of_function": function_id})]


def of_each(conn: Connection, function_ids: Sequence[str]) -> Mapping[str, Sequence[Allowance]]:
    """The limits of each of these functions, in the order it declares them."""
    found = dict[str, list[Allowance]]()
    for row in conn.execute(_LIST_MANY, {"ids": list(function_ids)}):
        found.setdefault(row.function_id, []).append(_allowance(row))
    return found


def override(conn: Connection, function_id: str, of_limit: str, wanted: int | None) -> bool:
    """Let a limit allow `wanted`, or (None) what the app declares again; False: there is no such limit."""
    values = {"of_function": function_id, "of_limit": of_limit}
    return conn.execute(_OVERRIDE.values(override=wanted), values).rowcount == 1


def impose(conn: Connection, function_id: str, wanted: int | None) -> None:
    """Limit the calls of a function that declares no limit, or (None) no longer; runs that start from now on obey.

    It counts as a new version of the function, so that no process goes on by what it has read.
    """
    statement = update(functions).where(functions.c.id == function_id)
    conn.execute(statement.values(imposed=wanted, version=functions.c.version + 1))
    save(conn, function_id, [Concurrency(wanted)] if wanted is not None else [])


def waiting_pools(conn: Connection, function_id: str, limit_ids: Sequence[str]) -> list[str]:
    """The pools of these limits at which calls wait."""
    rows = conn.execute(_WAITING, {"ids": list(limit_ids), "of_function": function_id})
    return [row.key for row in rows]


def _allowance(row: Row[Any]) -> Allowance:
    return Allowance(row.id, row.declared, row.override, row.key, row.scope, row.whole_run)
