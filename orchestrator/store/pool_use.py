"""How full the pools of limits are: of one function's, and the most crowded of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, literal_column, or_, select

from orchestrator.core.crowd import Crowd
from orchestrator.store.parked import ALLOWED
from orchestrator.store.tables import concurrency_limits, pools, slots

#: Pools at which calls wait, of which the most crowded are looked for.
MOST = 10_000
#: Runs at work that are told of one pool.
_HOLDERS = 3

_OURS = or_(pools.c.function_id.is_(None), pools.c.function_id == bindparam("of_function"))
_SHOWN = (pools.c.key, pools.c.limit_id, pools.c.value, pools.c.used, pools.c.waiting)
_CROWDED = (
    select(*_SHOWN)
    .where(pools.c.waiting > literal_column("0"), pools.c.limit_id.in_(bindparam("limits", expanding=True)), _OURS)
    .order_by(pools.c.waiting.desc(), pools.c.key)
    .limit(bindparam("most"))
)
_NAMED = select(*_SHOWN).where(pools.c.key.in_(bindparam("keys", expanding=True)))
_SOME = select(pools.c.key, pools.c.waiting).where(pools.c.waiting > literal_column("0")).limit(MOST + 1).subquery()
_FULLEST = select(_SOME.c.key).order_by(_SOME.c.waiting.desc(), _SOME.c.key).limit(bindparam("most"))
# Limits of one id have one key, whosever they are.
_EXPRESSION = (
    select(concurrency_limits.c.key).where(concurrency_limits.c.id == pools.c.limit_id).limit(1).scalar_subquery()
)
_TOLD = select(*_SHOWN, pools.c.function_id, ALLOWED.label("allowed"), _EXPRESSION.label("expression")).where(
    pools.c.key.in_(bindparam("keys", expanding=True))
)
_AT_WORK = select(slots.c.run_id).where(slots.c.pool == bindparam("of_key")).order_by(slots.c.id).limit(_HOLDERS)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """One pool: the limit it belongs to, the value of its key, its slots in use, and the calls that wait for one."""

    key: str
    limit_id: str
    value: str
    used: int
    waiting: int


def of_function(
    conn: Connection, function_id: str, limit_ids: Sequence[str], keys: Sequence[str], most: int
) -> list[PoolUse]:
    """The pools of these keys, and of those at which calls wait the `most` crowded ones, the most crowded first."""
    found = [*conn.execute(_NAMED, {"keys": list(keys)})]
    found += conn.execute(_CROWDED, {"limits": list(limit_ids), "of_function": function_id, "most": most})
    uses = {row.key: PoolUse(row.key, row.limit_id, row.value, row.used, row.waiting) for row in found}
    return sorted(uses.values(), key=lambda use: (-use.waiting, use.value))


def crowds(conn: Connection, most: int) -> list[Crowd]:
    """The `most` crowded of all pools at which calls wait, the most crowded first."""
    keys = [row.key for row in conn.execute(_FULLEST, {"most": most})]
    rows = conn.execute(_TOLD, {"keys": keys}).all() if keys else ()
    found = [
        Crowd(
            key=row.key,
            limit_id=row.limit_id,
            expression=row.expression,
            value=row.value,
            function_id=row.function_id,
            used=row.used,
            waiting=row.waiting,
            allowed=row.allowed,
            run_ids=tuple(dict.fromkeys(it.run_id for it in conn.execute(_AT_WORK, {"of_key": row.key}))),
        )
        for row in rows
    ]
    return sorted(found, key=lambda it: (-it.waiting, it.key))
