"""Slots on PostgreSQL: a call enters in one statement, and the last one of a run gives back what the run has.

The general forms are in `store.slots`.  Locks are the same, in the same order: the run (where it begins), the job, the
pools by their keys.  A row that is locked here is read as it is then, not as the statement's snapshot has it: that is
what makes deciding in the same statement sound, and why the counts are kept in the pools' rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import orjson

from orchestrator.core.concurrency import Needs, Pool
from orchestrator.ids import ulid_as_uuid
from orchestrator.store.jobs import Lease
from orchestrator.store.slots import Entered, Entry

_ENTER = """
WITH r AS (
    SELECT id FROM runs WHERE id = %(run)s AND %(begins)s FOR UPDATE),
j AS (
    SELECT id FROM jobs WHERE id = %(job)s AND generation = %(generation)s AND state = 3
        AND (SELECT count(*) FROM r) >= 0 FOR UPDATE),
v AS (
    SELECT v.key, v.limit_id FROM json_to_recordset(%(pools)s::json) AS v(key text, limit_id text)
    WHERE NOT EXISTS (
        SELECT 1 FROM slots s WHERE s.run_id = %(run)s AND s.pool = v.key AND s.until IS NULL
            AND (s.job_id IS NULL OR s.job_id = %(job)s))),
p AS (
    SELECT key, used, waiting FROM pools
    WHERE key = ANY(%(keys)s) AND key IN (SELECT key FROM v) AND EXISTS (SELECT 1 FROM j)
    ORDER BY key FOR UPDATE),
f AS (
    SELECT p.key, (n.allowed IS NULL OR p.used < n.allowed) AS room, p.waiting
    FROM p JOIN v ON v.key = p.key LEFT JOIN LATERAL (
        SELECT coalesce(l.override, l.declared) AS allowed FROM concurrency_limits l
        WHERE l.function_id = %(function)s AND l.id = v.limit_id) n ON true),
t AS (
    SELECT min(f.key) FILTER (WHERE NOT f.room OR f.waiting > 0) AS at,
        count(*) < (SELECT count(*) FROM v) AS unknown
    FROM f),
u AS (
    UPDATE pools
    SET used = pools.used + (t.at IS NULL OR p.key < t.at)::int,
        waiting = pools.waiting + (t.at IS NOT NULL AND p.key = t.at)::int
    FROM p, t WHERE pools.key = p.key AND NOT t.unknown AND (t.at IS NULL OR p.key <= t.at)),
s AS (
    INSERT INTO slots (pool, run_id, job_id, since)
    SELECT p.key, %(run)s, CASE WHEN left(p.key, 1) = '0' THEN NULL ELSE %(job)s::bigint END, %(now)s
    FROM p, t WHERE NOT t.unknown AND (t.at IS NULL OR p.key < t.at)),
b AS (
    UPDATE runs SET status = 'running', started_at = %(now)s
    FROM t WHERE runs.id IN (SELECT id FROM r) AND runs.status = 'queued' AND NOT t.unknown AND t.at IS NULL
        AND EXISTS (SELECT 1 FROM j)),
a AS (
    UPDATE jobs SET admitted = (t.at IS NULL), state = CASE WHEN t.at IS NULL THEN 3 ELSE 1 END,
        waits_at = t.at,
        lane = CASE WHEN t.at IS NOT NULL THEN %(lane)s::text END,
        rank = CASE WHEN t.at IS NOT NULL THEN %(rank)s::bigint END,
        owner = CASE WHEN t.at IS NULL THEN jobs.owner END,
        lease_until = CASE WHEN t.at IS NULL THEN jobs.lease_until END,
        announced_at = NULL
    FROM t WHERE jobs.id IN (SELECT id FROM j) AND NOT t.unknown)
SELECT EXISTS (SELECT 1 FROM j), t.unknown, t.at, (SELECT f.room FROM f WHERE f.key = t.at) FROM t
"""
_ENSURE = """
INSERT INTO pools (key, turn, limit_id, function_id, value)
SELECT v.key, '', v.limit_id, v.function_id, v.value
FROM json_to_recordset(%(rows)s::json) AS v(key text, limit_id text, function_id text, value text)
ORDER BY v.key
ON CONFLICT DO NOTHING
RETURNING key
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
        [(held, unknown, waits_at, room)] = self._run(
            _ENTER,
            {
                "run": ulid_as_uuid(lease.run_id or ""),
                "job": lease.job_id,
                "generation": lease.generation,
                "begins": begins,
                "pools": _json([{"key": pool.key, "limit_id": pool.limit_id} for pool in wanted.pools]),
                "keys": [pool.key for pool in wanted.pools],
                "function": function_id,
                "lane": wanted.lane,
                "rank": rank,
                "now": now,
            },
        )
        if not held:
            return Entered(Entry.LOST)
        if unknown:
            return Entered(Entry.UNKNOWN)
        if waits_at is None:
            return Entered(Entry.ADMITTED)
        return Entered(Entry.PARKED, waits_at, frozenset([waits_at] if room else []))

    def ensure(self, function_id: str, wanted: Sequence[Pool]) -> None:
        """Make the pools that do not exist yet."""
        rows = [
            {
                "key": pool.key,
                "limit_id": pool.limit_id,
                "function_id": None if pool.shared else function_id,
                "value": pool.value,
            }
            for pool in wanted
        ]
        self._run(_ENSURE, {"rows": _json(rows)})


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
