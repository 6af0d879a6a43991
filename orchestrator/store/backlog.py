"""What there is to do, counted for people: jobs by state, function and kind, and what waits behind gates.

Of each state `MOST` jobs are counted and no more, those that come first, so that the answer comes soon however many
there are; a sum above `MOST` says "more than that".  A job does not name its function: its run does, which is looked
up for each counted job by its key.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, false, func, literal_column, select

from orchestrator.store.jobs import CALL, IS_LEASED, IS_READY
from orchestrator.store.slots import IS_PARKED
from orchestrator.store.tables import functions, gates, jobs, pools, runs, steps, throttled

#: Jobs of one state that are counted.
MOST = 5_000
#: Pools of limits that functions share, whose parked jobs are counted one by one.
_SHARED = 100

_FUNCTION = select(runs.c.function_id).where(runs.c.id == jobs.c.run_id).scalar_subquery().label("function_id")
_STEP = select(steps.c.name).where(steps.c.run_id == jobs.c.run_id, steps.c.id == jobs.c.step_id).scalar_subquery()
_HERE = throttled.c.run_id == jobs.c.run_id
_GATE = select(throttled.c.gate).where(_HERE, throttled.c.let_go == false()).scalar_subquery()
_IS_HELD = jobs.c.state == literal_column("0")
_IS_DEAD = jobs.c.state == literal_column("5")
_WAITED_AT = pools.c.waiting > literal_column("0")


def _counted(sample: Select[Any]) -> Select[Any]:
    """How many rows of a sample there are of each kind."""
    of = sample.limit(MOST + 1).subquery()
    return select(*of.c, func.count().label("number")).group_by(*of.c)


_READY = select(jobs.c.kind, _FUNCTION).where(IS_READY).order_by(jobs.c.run_at)
_DUE = _counted(_READY.where(jobs.c.run_at <= bindparam("now")))
_LATER = _counted(_READY.where(jobs.c.run_at > bindparam("now")))
_OLDEST = select(jobs.c.run_at).where(IS_READY, jobs.c.run_at <= bindparam("now")).order_by(jobs.c.run_at).limit(1)
_LEASED = _counted(select(jobs.c.owner, jobs.c.kind, _FUNCTION).where(IS_LEASED))
_LEASES = select(jobs.c.id, jobs.c.owner, jobs.c.kind, jobs.c.run_id, _STEP.label("step"), _FUNCTION).where(IS_LEASED)
_HELD = _counted(select(_GATE.label("gate"), _FUNCTION).where(_IS_HELD))
_DEAD = select(func.count()).select_from(select(jobs.c.id).where(_IS_DEAD).limit(MOST + 1).subquery())
# Most limits are a function's own, and their pools count for themselves who waits.
_OWN_POOLS = (
    select(pools.c.function_id, pools.c.waiting)
    .where(_WAITED_AT, pools.c.function_id.is_not(None))
    .limit(MOST + 1)
    .subquery()
)
_PARKED_OWN = select(
    _OWN_POOLS.c.function_id, func.sum(_OWN_POOLS.c.waiting).label("number"), func.count().label("pools")
).group_by(_OWN_POOLS.c.function_id)
_SHARED_POOLS = select(pools.c.key).where(_WAITED_AT, pools.c.function_id.is_(None)).limit(_SHARED)
_PARKED_SHARED = _counted(select(_FUNCTION).where(IS_PARKED, jobs.c.waits_at.in_(bindparam("keys", expanding=True))))
_TIMERS = select(jobs.c.key, jobs.c.run_at).where(jobs.c.key.in_(bindparam("keys", expanding=True)))
# A gate at which something waits does not expire; its kind stands first in its key.
_KIND = func.substr(gates.c.key, 1, 6).label("kind")
_GATES = _counted(select(gates.c.function_id, _KIND).where(gates.c.expires_at.is_(None)))
_KINDS = {"batch:": "batch", "deboun": "debounce"}
_NAMES = select(functions.c.id, functions.c.slug, functions.c.name).where(
    functions.c.id.in_(bindparam("ids", expanding=True))
)


@dataclass(frozen=True, slots=True)
class Pile:
    """So many jobs of one function and kind; `function_id` is None for those of no run, `owner` of none leased."""

    function_id: str | None
    kind: str
    number: int
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class LeasedJob:
    """A job that somebody works on; `step` is the name of its step, where that is known."""

    id: int
    owner: str
    kind: str
    run_id: str | None
    step: str | None
    function_id: str | None


@dataclass(frozen=True, slots=True)
class Throttle:
    """The queue before one value of a throttle's key: who waits, and when the next is let go."""

    function_id: str | None
    gate: str
    number: int
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """A function as far as it is named here."""

    id: str
    slug: str
    name: str


def due(conn: Connection, now: datetime) -> list[Pile]:
    """Jobs that could be done now, the longest overdue first."""
    return [Pile(row.function_id, row.kind, row.number) for row in conn.execute(_DUE, {"now": now})]


def later(conn: Connection, now: datetime) -> list[Pile]:
    """Jobs with a time to come, the next ones first."""
    return [Pile(row.function_id, row.kind, row.number) for row in conn.execute(_LATER, {"now": now})]


def oldest_due(conn: Connection, now: datetime) -> datetime | None:
    """Since when the job that waits longest has been due; None: none is."""
    return conn.execute(_OLDEST, {"now": now}).scalar()


def leased(conn: Connection) -> list[Pile]:
    """Jobs that somebody works on."""
    return [Pile(row.function_id, row.kind, row.number, row.owner) for row in conn.execute(_LEASED)]


def leases(conn: Connection, most: int) -> list[LeasedJob]:
    """Some of them, each by itself, the oldest jobs of these first."""
    rows = conn.execute(_LEASES.limit(most))
    found = [LeasedJob(row.id, row.owner, row.kind, row.run_id, row.step, row.function_id) for row in rows]
    return sorted(found, key=lambda it: it.id)


def parked(conn: Connection) -> tuple[list[Pile], bool]:
    """Jobs that wait for a slot of a limit on concurrency, and whether that is all of them."""
    own = conn.execute(_PARKED_OWN).all()
    keys = [row.key for row in conn.execute(_SHARED_POOLS)]
    shared = conn.execute(_PARKED_SHARED, {"keys": keys}).all() if keys else []
    piles = [Pile(row.function_id, CALL, int(row.number)) for row in (*own, *shared)]
    exact = sum(row.pools for row in own) <= MOST and sum(row.number for row in shared) <= MOST
    return piles, exact and len(keys) < _SHARED


def held(conn: Connection, most: int) -> tuple[list[Pile], list[Throttle]]:
    """Jobs that wait until somebody lets them go, and the `most` throttles with the longest queues.

    A pile's kind is what holds it, `throttle` or `pause`.
    """
    rows = conn.execute(_HELD).all()
    piles = Counter[tuple[str | None, str]]()
    for row in rows:
        piles[row.function_id, "pause" if row.gate is None else "throttle"] += row.number
    queues = [Throttle(row.function_id, row.gate, row.number) for row in rows if row.gate is not None]
    longest = sorted(queues, key=lambda it: (-it.number, it.gate))[:most]
    asked = conn.execute(_TIMERS, {"keys": [it.gate for it in longest]}) if longest else ()
    timers = {row.key: row.run_at for row in asked}
    return (
        [Pile(function_id, kind, number) for (function_id, kind), number in piles.items()],
        [replace(it, next_at=timers.get(it.gate)) for it in longest],
    )


def dead(conn: Connection) -> int:
    """How many jobs were given up."""
    return conn.execute(_DEAD).scalar_one()


def open_gates(conn: Connection) -> list[Pile]:
    """Debounces that wait for the end of a burst, and batches that fill, by function."""
    rows = conn.execute(_GATES)
    return [Pile(row.function_id, _KINDS[row.kind], row.number) for row in rows if row.kind in _KINDS]


def names(conn: Connection, function_ids: set[str]) -> dict[str, Named]:
    """What these functions are called; those that are gone are left out."""
    rows = conn.execute(_NAMES, {"ids": sorted(function_ids)}) if function_ids else ()
    return {row.id: Named(row.id, row.slug, row.name) for row in rows}
