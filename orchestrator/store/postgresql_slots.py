"""Slots on PostgreSQL: calls enter together in one statement, and the last ones of runs give back what the runs have.

The general forms are in `store.slots`.  Locks are the same, in the same order: runs (where they begin) and jobs by
their ids, the pools by their keys.  A row that is locked here is read as it is then, not as the statement's snapshot
has it: that is what makes deciding in the same statement sound, and why the counts are kept in the pools' rows.

All that want to enter while a statement is under way are the next one: many calls of one pool would otherwise wait for
its row one after the other, and that costs more than what they do with it.  Of several that want a slot of one pool
each counts those before it as if they got theirs.  Where one of them has to wait at another pool, somebody may be
parked here though there is room: `to_admit` says so, as it does where a newcomer queues behind those who wait.

Pools are changed by way of `ON CONFLICT`, which finds a row by its key whatever the planner thinks of the table: that
may be small when the statement is planned, and large an hour later.  Pools that do not exist are made after the others
are locked, so that nobody who waits for a lock holds a new one.  One that somebody else made at this moment, and that
is not empty, was not looked at when deciding: then the statement divides by zero, which undoes all of it, and is sent
again.  A pool is not deleted while it has slots (see `store.cure`), so that who gives them back finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import psycopg

from orchestrator.core.concurrency import Needs
from orchestrator.ids import ulid_as_uuid
from orchestrator.store.group import GroupCommitter
from orchestrator.store.jobs import Lease
from orchestrator.store.slots import Entered, Entry, new_row

#: Calls that enter together, at most.
MOST_TOGETHER = 64

ENTER = """
WITH r AS MATERIALIZED (
    SELECT id FROM runs WHERE id = ANY(%(begin)s) ORDER BY id FOR UPDATE),
j AS MATERIALIZED (
    SELECT c.* FROM (
        SELECT * FROM json_to_recordset(%(calls)s::json)
            AS v(at int, job bigint, generation int, run uuid, begins bool, function text, lane text, rank bigint)
        ORDER BY v.job) c
    CROSS JOIN LATERAL (
        SELECT id FROM jobs WHERE id = c.job AND generation = c.generation AND state = 3
            AND (SELECT count(*) FROM r) >= 0 FOR UPDATE) x),
v AS MATERIALIZED (
    SELECT v.*, j.run, j.job, n.allowed FROM json_to_recordset(%(pools)s::json)
        AS v(at int, key text, limit_id text, function_id text, value text)
    JOIN j ON j.at = v.at
    LEFT JOIN LATERAL (
        SELECT coalesce(l.override, l.declared) AS allowed FROM concurrency_limits l
        WHERE l.function_id = j.function AND l.id = v.limit_id) n ON true
    WHERE (
        SELECT s.id FROM slots s WHERE s.run_id = j.run AND s.pool = v.key AND s.until IS NULL
            AND (s.job_id IS NULL OR s.job_id = j.job) LIMIT 1) IS NULL),
p AS MATERIALIZED (
    SELECT x.* FROM (SELECT DISTINCT key FROM v ORDER BY key) c
    CROSS JOIN LATERAL (SELECT key, used, waiting FROM pools WHERE key = c.key FOR UPDATE) x),
f AS MATERIALIZED (
    SELECT v.*, p.key IS NULL AS fresh, coalesce(p.used, 0) AS used, coalesce(p.waiting, 0) AS waiting,
        row_number() OVER (PARTITION BY v.key ORDER BY v.at) AS nth
    FROM v LEFT JOIN p ON p.key = v.key),
t AS MATERIALIZED (
    SELECT at, min(key) FILTER (WHERE waiting > 0 OR used + nth > allowed) AS stop FROM f GROUP BY at),
g AS MATERIALIZED (
    SELECT f.*, t.stop FROM f JOIN t ON t.at = f.at WHERE t.stop IS NULL OR f.key <= t.stop),
q AS MATERIALIZED (
    SELECT key, bool_or(fresh) AS fresh,
        min(limit_id) AS limit_id, min(function_id) AS function_id, min(value) AS value,
        count(*) FILTER (WHERE key IS DISTINCT FROM stop) AS taken, count(*) FILTER (WHERE key = stop) AS parked
    FROM g GROUP BY key),
m AS (
    INSERT INTO pools (key, used, waiting, turn, limit_id, function_id, value)
    SELECT key, taken, parked, '', limit_id, function_id, value FROM q ORDER BY key
    ON CONFLICT (key) DO UPDATE SET used = pools.used + excluded.used, waiting = pools.waiting + excluded.waiting
    RETURNING key, used, waiting),
s AS (
    INSERT INTO slots (pool, run_id, job_id, since)
    SELECT key, run, CASE WHEN left(key, 1) = '0' THEN NULL ELSE job END, %(now)s FROM g
    WHERE key IS DISTINCT FROM stop),
b AS (
    UPDATE runs SET status = 'running', started_at = %(now)s
    FROM j LEFT JOIN t ON t.at = j.at
    WHERE runs.id = j.run AND runs.id = ANY(%(begin)s) AND j.begins AND runs.status = 'queued' AND t.stop IS NULL),
a AS (
    UPDATE jobs SET admitted = (t.stop IS NULL), state = CASE WHEN t.stop IS NULL THEN 3 ELSE 1 END,
        waits_at = t.stop,
        lane = CASE WHEN t.stop IS NOT NULL THEN j.lane END,
        rank = CASE WHEN t.stop IS NOT NULL THEN j.rank END,
        owner = CASE WHEN t.stop IS NULL THEN jobs.owner END,
        lease_until = CASE WHEN t.stop IS NULL THEN jobs.lease_until END,
        announced_at = NULL
    FROM j LEFT JOIN t ON t.at = j.at WHERE jobs.id = j.job AND jobs.id = ANY(%(jobs)s))
SELECT j.at, t.stop, (
        SELECT g.allowed IS NULL OR g.used + q.taken < g.allowed FROM g JOIN q ON q.key = g.key
        WHERE g.at = j.at AND g.key = t.stop),
    1 / (NOT EXISTS (
        SELECT 1 FROM q JOIN m ON m.key = q.key WHERE q.fresh AND (m.used <> q.taken OR m.waiting <> q.parked)))::int
FROM j LEFT JOIN t ON t.at = j.at
"""
#: Follows the parts of a statement that ends runs, of which `u` is those that were ended.
RELEASE = """
s AS (
    DELETE FROM slots WHERE run_id = ANY(%(runs)s) AND until IS NULL AND run_id IN (SELECT id FROM u)
    RETURNING pool),
w AS (
    INSERT INTO pools (key, used, turn, limit_id, value)
    SELECT pool, -count(*), '', '', '' FROM s GROUP BY pool ORDER BY pool
    ON CONFLICT (key) DO UPDATE SET used = pools.used + excluded.used RETURNING key, waiting)
"""
FREED = "(SELECT array_agg(key) FROM w WHERE waiting > 0)"


@dataclass(frozen=True, slots=True)
class Entering:
    """A leased job that asks for the slots it still needs; the run `begins` once it has them."""

    lease: Lease
    function_id: str
    wanted: Needs
    now: datetime
    rank: int
    begins: bool


class HotSlots:
    """The statements; `run` sends one on an autocommit connection and returns its rows."""

    def __init__(self, run: Callable[[str, dict[str, Any]], list[Any]], apart: Callable[[Exception], bool]) -> None:
        """`apart`: see `GroupCommitter`."""
        self._run = run
        self._entering = GroupCommitter[Entering, Entered](self.enter_all, max_items=MOST_TOGETHER, apart=apart)

    def enter(
        self, lease: Lease, function_id: str, wanted: Needs, now: datetime, rank: int, *, begins: bool
    ) -> Entered:
        """Take the slots a leased job still needs, or park it; the run `begins` once it has them."""
        return self._entering.submit(Entering(lease, function_id, wanted, now, rank, begins))

    def enter_all(self, calls: Sequence[Entering]) -> list[Entered]:
        """The same for several calls, of which none has the job of another, in the order of their coming."""
        try:
            rows = self._run(ENTER, values_of(calls))
        except psycopg.errors.DivisionByZero:
            return [Entered(Entry.UNKNOWN) for _ in calls]
        found = {at: _entered(stop, room) for at, stop, room, _ in rows}
        return [found.get(at, Entered(Entry.LOST)) for at in range(len(calls))]


def values_of(calls: Sequence[Entering]) -> dict[str, Any]:
    """What `ENTER` asks for."""
    return {
        "begin": [ulid_as_uuid(_run_id(call)) for call in calls if call.begins],
        "jobs": [call.lease.job_id for call in calls],
        "calls": orjson.dumps([_call_row(at, call) for at, call in enumerate(calls)]).decode(),
        "pools": orjson.dumps(
            [
                {"at": at, **new_row(call.function_id, pool)}
                for at, call in enumerate(calls)
                for pool in call.wanted.pools
            ]
        ).decode(),
        "now": max(call.now for call in calls),
    }


def _call_row(at: int, call: Entering) -> dict[str, object]:
    return {
        "at": at,
        "job": call.lease.job_id,
        "generation": call.lease.generation,
        "run": ulid_as_uuid(_run_id(call)),
        "begins": call.begins,
        "function": call.function_id,
        "lane": call.wanted.lane,
        "rank": call.rank,
    }


def _run_id(call: Entering) -> str:
    assert call.lease.run_id is not None, "a call is one of a run"
    return call.lease.run_id


def _entered(stop: str | None, room: bool | None) -> Entered:
    if stop is None:
        return Entered(Entry.ADMITTED)
    return Entered(Entry.PARKED, stop, frozenset([stop] if room else []))
