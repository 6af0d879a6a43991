"""Slots on PostgreSQL: a call enters in one statement, and the last one of a run gives back what the run has.

The general forms are in `store.slots`.  Locks are the same, in the same order: the run (where it begins), the job, the
pools by their keys.  A row that is locked here is read as it is then, not as the statement's snapshot has it: that is
what makes deciding in the same statement sound, and why the counts are kept in the pools' rows.

Pools that do not exist are made after the others are locked, so that nobody who waits for a lock holds a new one.  One
that somebody else makes at this moment is in neither of the two: then the statement divides by zero, which undoes all
of it, and is sent again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
import psycopg

from orchestrator.core.concurrency import Needs
from orchestrator.ids import ulid_as_uuid
from orchestrator.store.jobs import Lease
from orchestrator.store.slots import Entered, Entry, new_row

_ENTER = """
WITH r AS (
    SELECT id FROM runs WHERE id = %(run)s AND %(begins)s FOR UPDATE),
j AS (
    SELECT id FROM jobs WHERE id = %(job)s AND generation = %(generation)s AND state = 3
        AND (SELECT count(*) FROM r) >= 0 FOR UPDATE),
v AS (
    SELECT v.* FROM json_to_recordset(%(pools)s::json) AS v(key text, limit_id text, function_id text, value text)
    WHERE EXISTS (SELECT 1 FROM j) AND NOT EXISTS (
        SELECT 1 FROM slots s WHERE s.run_id = %(run)s AND s.pool = v.key AND s.until IS NULL
            AND (s.job_id IS NULL OR s.job_id = %(job)s))),
p AS (
    SELECT key, used, waiting FROM pools WHERE key = ANY(%(keys)s) AND key IN (SELECT key FROM v)
    ORDER BY key FOR UPDATE),
f AS (
    SELECT p.key, p.waiting, (n.allowed IS NULL OR p.used < n.allowed) AS room
    FROM p JOIN v ON v.key = p.key LEFT JOIN LATERAL (
        SELECT coalesce(l.override, l.declared) AS allowed FROM concurrency_limits l
        WHERE l.function_id = %(function)s AND l.id = v.limit_id) n ON true),
t AS (
    SELECT min(f.key) FILTER (WHERE NOT f.room OR f.waiting > 0) AS at FROM f),
g AS (
    SELECT v.* FROM v, t WHERE t.at IS NULL OR v.key < t.at),
m AS (
    INSERT INTO pools (key, used, turn, limit_id, function_id, value)
    SELECT g.key, 1, '', g.limit_id, g.function_id, g.value FROM g
    WHERE NOT EXISTS (SELECT 1 FROM p WHERE p.key = g.key) ORDER BY g.key
    ON CONFLICT DO NOTHING RETURNING key),
u AS (
    UPDATE pools
    SET used = pools.used + (t.at IS NULL OR p.key < t.at)::int,
        waiting = pools.waiting + (t.at IS NOT NULL AND p.key = t.at)::int
    FROM p, t WHERE pools.key = p.key AND (t.at IS NULL OR p.key <= t.at)),
s AS (
    INSERT INTO slots (pool, run_id, job_id, since)
    SELECT g.key, %(run)s, CASE WHEN left(g.key, 1) = '0' THEN NULL ELSE %(job)s::bigint END, %(now)s FROM g),
b AS (
    UPDATE runs SET status = 'running', started_at = %(now)s
    FROM t WHERE runs.id IN (SELECT id FROM r) AND runs.status = 'queued' AND t.at IS NULL
        AND EXISTS (SELECT 1 FROM j)),
a AS (
    UPDATE jobs SET admitted = (t.at IS NULL), state = CASE WHEN t.at IS NULL THEN 3 ELSE 1 END,
        waits_at = t.at,
        lane = CASE WHEN t.at IS NOT NULL THEN %(lane)s::text END,
        rank = CASE WHEN t.at IS NOT NULL THEN %(rank)s::bigint END,
        owner = CASE WHEN t.at IS NULL THEN jobs.owner END,
        lease_until = CASE WHEN t.at IS NULL THEN jobs.lease_until END,
        announced_at = NULL
    FROM t WHERE jobs.id IN (SELECT id FROM j))
SELECT EXISTS (SELECT 1 FROM j), t.at, (SELECT f.room FROM f WHERE f.key = t.at),
    1 / ((SELECT count(*) FROM g) = (SELECT count(*) FROM g JOIN p ON p.key = g.key) + (SELECT count(*) FROM m))::int
FROM t
"""
#: Follows the parts of the statement that ends a run, of which `u` is the run that was ended.
RELEASE = """,
s AS (
    DELETE FROM slots WHERE run_id = %(run)s AND until IS NULL AND EXISTS (SELECT 1 FROM u) RETURNING pool),
k AS (
    SELECT key FROM pools WHERE key = ANY(ARRAY(SELECT pool FROM s)) ORDER BY key FOR UPDATE),
w AS (
    UPDATE pools SET used = pools.used - 1 FROM k WHERE pools.key = k.key RETURNING pools.key, pools.waiting)
"""
FREED = ", (SELECT array_agg(key) FROM w WHERE waiting > 0)"


class HotSlots:
    """The statements; `run` sends one on an autocommit connection and returns its rows."""

    def __init__(self, run: Callable[[str, dict[str, Any]], list[Any]]) -> None:
        self._run = run

    def enter(
        self, lease: Lease, function_id: str, wanted: Needs, now: datetime, rank: int, *, begins: bool
    ) -> Entered:
        """Take the slots a leased job still needs, or park it; the run `begins` once it has them."""
        try:
            [(held, waits_at, room, _)] = self._run(_ENTER, self._values(lease, function_id, wanted, now, rank, begins))
        except psycopg.errors.DivisionByZero:
            return Entered(Entry.UNKNOWN)
        if not held:
            return Entered(Entry.LOST)
        if waits_at is None:
            return Entered(Entry.ADMITTED)
        return Entered(Entry.PARKED, waits_at, frozenset([waits_at] if room else []))

    def _values(
        self, lease: Lease, function_id: str, wanted: Needs, now: datetime, rank: int, begins: bool
    ) -> dict[str, Any]:
        return {
            "run": ulid_as_uuid(lease.run_id or ""),
            "job": lease.job_id,
            "generation": lease.generation,
            "begins": begins,
            "pools": orjson.dumps([new_row(function_id, pool) for pool in wanted.pools]).decode(),
            "keys": [pool.key for pool in wanted.pools],
            "function": function_id,
            "lane": wanted.lane,
            "rank": rank,
            "now": now,
        }
