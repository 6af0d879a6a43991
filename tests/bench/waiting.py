"""Very many jobs that wait, written by PostgreSQL itself from a series of numbers, for runs of `tests.bench.crowd`.

Parked ones wait at the pools of a thousand customers, and at one that all functions share.  Besides those that sleep
there are due ones, some in hand, some held by throttles, and dead ones.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from tests.bench import crowd

CUSTOMERS = 1_000
#: Due, in hand, held by throttles, dead.
OTHERS = {"due": 30_000, "leased": 2_000, "held": 20_000, "dead": 5_000}

_OF = "(SELECT array_agg(id) FROM (SELECT id FROM runs ORDER BY id DESC LIMIT 100000) r)"
_RUN = "ids[1 + n % array_length(ids, 1)]"
_JOBS = f"""
INSERT INTO jobs (kind, key, run_id, run_at, state, waits_at, lane, rank, owner, lease_until, error)
SELECT :kind, :state || ':' || n, {_RUN}, CAST(:last AS timestamptz) + n * CAST(:apart AS interval), :state,
    CASE WHEN :state = 1 THEN CASE WHEN n % 10 = 0 THEN '13:shared' ELSE '11:' || n % {CUSTOMERS} END END,
    CASE WHEN :state = 1 THEN 'lane' || n % 7 END, CASE WHEN :state = 1 THEN n END,
    CASE WHEN :state = 3 THEN 'worker' || n % 20 END,
    CASE WHEN :state = 3 THEN CAST(:last AS timestamptz) + interval '30 s' END,
    CASE WHEN :state = 5 THEN 'it crashed 5 times, last with ValueError: no' END
FROM generate_series(CAST(:first AS bigint), :until) AS g(n), {_OF} AS o(ids)
"""
_LIMIT = """
INSERT INTO concurrency_limits (function_id, id, position, key, scope, whole_run, declared)
SELECT id, 'limit', 0, 'event.data.customer', 'fn', false, 2 FROM functions
"""
_POOLS = f"""
INSERT INTO pools (key, limit_id, function_id, value, used, waiting, turn)
SELECT '11:' || n, 'limit', :function, 'c' || n, 2, 0, '' FROM generate_series(0, {CUSTOMERS} - 1) AS g(n)
UNION ALL SELECT '13:shared', 'shared', NULL, '', 2, 0, ''
"""
_COUNT = """
UPDATE pools SET waiting = it.number
FROM (SELECT waits_at, count(*) AS number FROM jobs WHERE state = 1 GROUP BY waits_at) it WHERE it.waits_at = key
"""
_THROTTLED = """
INSERT INTO throttled (run_id, gate, at, position, let_go)
SELECT DISTINCT ON (run_id) run_id, 'throttle:' || id % 30, run_at, run_at, false FROM jobs WHERE state = 0
"""
_WORKERS = """
INSERT INTO workers (owner, host, pid, executors, version, started_at, seen_at)
SELECT 'worker' || n, 'host' || n, n, 100, '0.1', CAST(:last AS timestamptz), CAST(:last AS timestamptz)
FROM generate_series(0, 19) AS g(n)
"""


def fill(conn: Connection, *, parked: int, asleep: int) -> None:
    """Write so many parked jobs and so many that sleep, and the others besides."""
    conn.execute(text(_LIMIT))
    conn.execute(text(_POOLS), {"function": crowd.function_ids()[0]})
    _add(conn, 1, "call", parked, "-1 ms")
    _add(conn, 2, "wake", asleep, "10 ms")
    _add(conn, 2, "call", OTHERS["due"], "-1 ms", first=asleep + 1)
    for state, name in ((3, "leased"), (0, "held"), (5, "dead")):
        _add(conn, state, "call", OTHERS[name], "-1 ms")
    conn.execute(text(_COUNT))
    conn.execute(text(_THROTTLED))
    conn.execute(text(_WORKERS), {"last": crowd.LAST})


def _add(conn: Connection, state: int, kind: str, number: int, apart: str, first: int = 1) -> None:
    values = {"state": state, "kind": kind, "last": crowd.LAST, "apart": apart}
    conn.execute(text(_JOBS), values | {"first": first, "until": first + number - 1})
