"""A database with very many runs and events, as a year of uneven work leaves it.

Twenty functions in four apps, each with a limit and one by key: one has half of all runs, one a hundred.
One run in thirty failed, one in a hundred was cancelled, one in two hundred skipped; of the newest some still run or
have not begun.  Each event has a name of its function's, a number, a customer (of a thousand) and a plan; one in a
million a word that is nowhere else.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from orchestrator.core.failure import fingerprint
from orchestrator.ids import named_uuid
from orchestrator.protocol.function_config import read_function
from orchestrator.store import allowances, functions
from orchestrator.store.functions import Declared

FUNCTIONS = 20
APPS = 4
#: The runs lie so far apart, and the last one at this moment.
APART = timedelta(milliseconds=500)
LAST = datetime(2026, 6, 1, tzinfo=UTC)
RARE = 19
#: What all failures have in common.
FAILURE = fingerprint('{"name":"Error","message":"no 1"}')
#: Values of a key at which calls wait.
POOLS = 10_000
_TOGETHER = 100_000

# Half of all are the first function's, a hundred in a million the last one's.
_FUNCTION = f"CASE WHEN n % 10000 = 0 THEN {RARE} WHEN n % 2 = 0 THEN 0 ELSE (n / 2 % {RARE - 1}) + 1 END"
_AT = "CAST(:last AS timestamptz) - (:of - n) * CAST(:apart AS interval)"
_MS = "CAST(extract(epoch FROM at) * 1000 AS bigint)"
_ID = f"(lpad(to_hex({_MS}), 12, '0') || '{{kind}}' || lpad(to_hex(n), 19, '0'))::uuid"
_STATUS = """CASE WHEN n > :of - 200 AND n % 3 = 0 THEN 'queued' WHEN n > :of - 2000 AND n % 3 = 1 THEN 'running'
    WHEN n % 31 = 7 THEN 'failed' WHEN n % 101 = 11 THEN 'cancelled' WHEN n % 199 = 13 THEN 'skipped'
    ELSE 'completed' END"""
_ROWS = f"""
    SELECT n, at, {_ID.format(kind="0")} AS event_id, {_ID.format(kind="1")} AS run_id, of_function,
        {_STATUS} AS status
    FROM (
        SELECT n, {_AT} AS at, {_FUNCTION} AS of_function FROM generate_series(CAST(:first AS bigint), :until) AS g(n)
    ) a
"""
_EVENTS = f"""
INSERT INTO events (id, name, ts, payload, received_at)
SELECT event_id, 'crowd/event.' || of_function, extract(epoch FROM at) * 1000,
    '{{"data":{{"customer":"c' || n % 1000 || '","number":' || n || ',"plan":"' ||
    CASE WHEN n % 1000000 = 500000 THEN 'needle' WHEN n % 3 = 0 THEN 'free' ELSE 'paid' END ||
    '","text":"' || repeat(md5(n::text), 4) || '"}},"id":"' || event_id || '","name":"crowd/event.' || of_function ||
    '","ts":' || CAST(extract(epoch FROM at) * 1000 AS bigint) || ',"user":{{}}}}', at
FROM ({_ROWS}) r
"""
_RUNS = f"""
INSERT INTO runs (id, function_id, function_version, event_id, event_name, status, queued_at, started_at, ended_at,
    output, error, failure)
SELECT run_id, (CAST(:functions AS text[]))[of_function + 1], 1, event_id, 'crowd/event.' || of_function, status, at,
    CASE WHEN status NOT IN ('queued', 'skipped') THEN at + n % 50 * interval '1 ms' END,
    CASE WHEN status NOT IN ('queued', 'running') THEN at + n % 5000 * interval '20 ms' END,
    CASE WHEN status = 'completed' THEN '{{"total":' || n % 500 || ',"word":"' || md5(n::text) || '"}}' END,
    CASE WHEN status = 'failed' THEN '{{"name":"Error","message":"no ' || n % 7 || '","stack":"at f (a.js:1:2)"}}' END,
    CASE WHEN status = 'failed' THEN :failure END
FROM ({_ROWS}) r
"""

_POOLS = """
INSERT INTO pools (key, used, waiting, turn, limit_id, function_id, value)
SELECT 'crowd' || n, 2, 1 + n % 97, '', :limit, :function, 'c' || n FROM generate_series(1, :many) AS g(n)
"""


def crowd_pools(conn: Connection) -> None:
    """Let calls wait for slots at very many values of the first function's key."""
    keyed = next(limit for limit in allowances.of_function(conn, function_ids()[0]) if limit.key is not None)
    conn.execute(text(_POOLS), {"many": POOLS, "limit": keyed.limit_id, "function": function_ids()[0]})


def function_ids() -> list[str]:
    """The functions, the one with half of all runs first, the one with few last."""
    return [named_uuid("function", _slug(number)) for number in range(FUNCTIONS)]


def app_ids() -> list[str]:
    """The apps."""
    return [named_uuid("app", f"app{number}") for number in range(APPS)]


def declare(conn: Connection) -> None:
    """Write the apps and their functions."""
    for number, app_id in enumerate(app_ids()):
        functions.save_app(conn, app_id, {"name": f"app{number}", "url": f"http://app{number}"}, LAST)
        own = [_declared(it) for it in range(FUNCTIONS) if it % APPS == number]
        functions.save_functions(conn, app_id, own, LAST)


def fill(conn: Connection, runs: int) -> None:
    """Write so many runs, each with its event, and let the database know its rows."""
    values = {"of": runs, "last": LAST, "apart": APART, "functions": function_ids(), "failure": FAILURE}
    for first in range(1, runs + 1, _TOGETHER):
        part = values | {"first": first, "until": min(first + _TOGETHER - 1, runs)}
        conn.execute(text(_EVENTS), part)
        conn.execute(text(_RUNS), part)


def _slug(number: int) -> str:
    return f"app{number % APPS}-f{number}"


def _declared(number: int) -> Declared:
    config = {
        "id": _slug(number),
        "name": f"f{number}",
        "triggers": [{"event": f"crowd/event.{number}"}, {"cron": "*/5 * * * *"}],
        "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "http", "url": "http://app"}}},
        "concurrency": [{"limit": 50}, {"limit": 2, "key": "event.data.customer"}],
    }
    return Declared(read_function(config, "it"), json.dumps(config), "1")
