"""How databases plan queries over full tables: the crowd that fills them, and what of a plan reads a whole one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, event

from orchestrator.core.concurrency import Needs, Pool
from orchestrator.core.effect import StepStatus
from orchestrator.ids import new_ulid
from orchestrator.store import jobs, pauses
from orchestrator.store.tables import metadata
from tests.store.factories import NOW, UNTIL, add_app, after, insert_rows

#: These index the jobs of one state only, so that reading all of one is reading what the query is about.
SMALL = {"ix_jobs_ready", "ix_jobs_leased", "ix_jobs_dead", "ix_jobs_held", "ix_pools_waiting", "ix_slots_until"}
#: Reads all that apps have declared, once for a page of five hundred events.
REGISTRY = {"find events": {"functions"}}
LARGE = {table.name for table in metadata.sorted_tables} - {"apps"}
RUN = new_ulid()
WAITING_AT = "11:7"
NEEDS = Needs("lane7", (Pool(WAITING_AT, "limit7", "7"), Pool("21:0", "limit0", "")))


def crowd(conn: Connection) -> None:
    """20 000 jobs: most of them far away, a tenth due, a twentieth leased; and runs, steps and events to match."""
    ids = [RUN, *(new_ulid() for _ in range(1_999))]
    run = {"function_id": "f", "function_version": 1, "event_name": "e", "status": "running", "queued_at": NOW}
    run["limits"] = NEEDS.text()
    options = [{"batch_id": it, "singleton": f"singleton:{at}"} for at, it in enumerate(ids)]
    insert_rows(conn, "runs", [run | {"id": it, "event_id": it} | of for it, of in zip(ids, options, strict=True)])
    event = {"ts": 0, "payload": "{}", "received_at": NOW}
    insert_rows(conn, "events", [event | {"id": it, "name": f"e{at}"} for at, it in enumerate(ids)])
    insert_rows(conn, "history", [{"run_id": it, "kind": "k", "at": NOW} for it in ids])
    insert_rows(conn, "keys", [{"key": str(at), "value": "v", "expires_at": after(at - 100)} for at in range(len(ids))])
    step = {"name": "s", "op": "StepRun", "status": StepStatus.COMPLETED.value, "counted": False, "attempts": 1}
    insert_rows(conn, "steps", [step | {"run_id": it, "id": f"s{at}", "seq": at} for it in ids for at in range(5)])
    pause = {"kind": pauses.EVENT, "step_id": "s1", "expires_at": after(99), "created_at": NOW}
    term = {"event_name": "e1", "term_path": '["data","n"]'}
    insert_rows(
        conn, "pauses", [pause | term | {"id": it, "run_id": it, "term_key": f"n:{at}"} for at, it in enumerate(ids)]
    )
    insert_rows(conn, "batch_events", [{"batch_id": it, "event_id": it} for it in ids])
    gate = {"state": "{}"}
    insert_rows(
        conn,
        "gates",
        [gate | {"key": f"rate:{at}", "function_id": f"f{at}", "expires_at": after(at)} for at in range(4_000)],
    )
    insert_rows(conn, "admissions", [{"gate": f"rate:{at}", "number": at % 9, "at": NOW} for at in range(4_000)])
    waiting = {"at": NOW, "position": NOW, "let_go": False}
    insert_rows(
        conn, "throttled", [waiting | {"run_id": it, "gate": f"throttle:{at % 50}"} for at, it in enumerate(ids)]
    )
    order = {"app_id": "a", "started_before": NOW, "created_at": NOW}
    insert_rows(conn, "cancellations", [order | {"id": it} for it in ids])
    insert_rows(conn, "reruns", [{"run_id": it, "original_run_id": it} for it in ids])
    token = {"name": "t", "hint": "orch_", "scopes": "read", "created_at": NOW, "revoked_at": NOW}
    insert_rows(conn, "api_tokens", [{"id": it, "hash": it} | token for it in ids])
    insert_rows(conn, "audit", [{"at": NOW, "action": "a", "subject": it} for it in ids])
    insert_rows(conn, "chores", [{"name": f"c{at}", "next_at": NOW} for at in range(len(ids))])
    insert_rows(conn, "jobs", [a_job(at, ids[at % len(ids)]) for at in range(20_000)])
    tally = {"function_id": "f", "what": "queued", "bin": 0, "number": 1}
    spans = range(60, 540, 60)
    insert_rows(conn, "tallies", [tally | {"span": it, "at": after(-it * at)} for it in spans for at in range(2_000)])
    app_id = add_app(conn)
    function: dict[str, Any] = {"app_id": app_id, "name": "f", "version": 1, "config": "{}", "checksum": "1"}
    function |= {"created_at": NOW, "updated_at": NOW}
    insert_rows(conn, "functions", [function | {"id": f"f{at}", "slug": f"f{at}"} for at in range(4_000)])
    crowd_pools(conn, ids)
    insert_rows(conn, "triggers", [{"function_id": f"f{at}", "position": 0, "event": f"e{at}"} for at in range(4_000)])


def crowd_pools(conn: Connection, run_ids: list[str]) -> None:
    """A limit for each function, 2 000 pools of which one is full and waited at, and a thousand parked jobs."""
    limit = {"position": 0, "scope": "fn", "whole_run": False, "declared": 1}
    insert_rows(
        conn, "concurrency_limits", [limit | {"function_id": f"f{at}", "id": f"limit{at % 500}"} for at in range(4_000)]
    )
    pool = {"used": 0, "turn": "", "value": "7"}
    numbers = range(2_000)
    insert_rows(
        conn,
        "pools",
        [
            pool
            | {"key": f"11:{at}", "function_id": f"f{at}", "limit_id": f"limit{at % 500}", "waiting": 1_000 * (at == 7)}
            for at in numbers
        ],
    )
    slot = {"since": NOW, "owner": None, "until": None}
    insert_rows(
        conn, "slots", [slot | {"pool": f"11:{at}", "run_id": it, "job_id": at} for at, it in enumerate(run_ids)]
    )
    parked_job = {"kind": jobs.CALL, "run_at": NOW, "state": jobs.WAITING, "waits_at": WAITING_AT, "rank": 0}
    rows = [parked_job | {"key": f"parked:{at}", "lane": f"lane{at % 9}", "run_id": run_ids[at]} for at in range(1_000)]
    insert_rows(conn, "jobs", rows)


def a_job(at: int, run_id: str) -> dict[str, Any]:
    leased = at % 20 == 7
    return {
        "kind": jobs.CALL,
        "key": f"call:{at}",
        "run_id": run_id,
        "run_at": after(-60 if at % 10 == 0 else at),
        "state": jobs.LEASED if leased else jobs.READY,
        "generation": 1 if leased else 0,
        "owner": "worker" if leased else None,
        "lease_until": UNTIL if leased else None,
    }


def statements(conn: Connection, query: Callable[[Connection], object]) -> list[tuple[str, Any]]:
    """What the query says to the database, with the values of its first row."""
    said: list[tuple[str, Any]] = []

    def remember(_conn: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool) -> None:
        said.append((statement, values[0] if many else values))

    event.listen(conn, "before_cursor_execute", remember)
    try:
        with conn.begin_nested() as savepoint:
            query(conn)
            savepoint.rollback()
    finally:
        event.remove(conn, "before_cursor_execute", remember)
    return [(statement, values) for statement, values in said if not re.match("SAVEPOINT|ROLLBACK|RELEASE", statement)]


def scans(conn: Connection, statement: str, values: Any) -> list[str]:
    """The large tables that the statement reads as a whole."""
    if statement.startswith("INSERT"):
        return []
    if conn.dialect.name == "postgresql":
        return _scans(conn, statement)
    asked = {"sqlite": _scans_of_sqlite, "mysql": _scans_of_mysql}
    return asked[conn.dialect.name](conn, statement, values)


def _scans_of_sqlite(conn: Connection, statement: str, values: Any) -> list[str]:
    plan = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
    found = [re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", row.detail) for row in plan]
    return [match[1] for match in found if match and match[1] in LARGE and match[2] not in SMALL]


def _scans_of_mysql(conn: Connection, statement: str, values: Any) -> list[str]:
    # Not always valid JSON: it quotes values of keys that are bytes.
    plan = conn.exec_driver_sql(f"EXPLAIN FORMAT=JSON {statement}", values).scalar_one()
    found = re.findall(r'"table_name": "(\w+)",\s+(?:"partitions": [^\n]+\s+)?"access_type": "(?:ALL|index)"', plan)
    return [table for table in found if table in LARGE]


def _scans(conn: Connection, statement: str) -> list[str]:
    """By the generic plan, which knows no value."""
    names = dict.fromkeys(re.findall(r"%\((\w+)\)s", statement))
    for number, name in enumerate(names, start=1):
        statement = statement.replace(f"%({name})s", f"${number}")
    conn.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
    conn.exec_driver_sql(f"PREPARE asked AS {statement}")
    nothing = f"({', '.join(['NULL'] * len(names))})" if names else ""
    [plan] = conn.exec_driver_sql(f"EXPLAIN (FORMAT JSON) EXECUTE asked{nothing}").scalar_one()
    conn.exec_driver_sql("DEALLOCATE asked")
    return [node["Relation Name"] for node in _nodes(plan["Plan"]) if _reads_all(node)]


def analyze(conn: Connection) -> None:
    """Let the database count what there is, so that it plans for that."""
    quote = conn.dialect.identifier_preparer.quote
    each = [f"TABLE {quote(table.name)}" for table in metadata.sorted_tables]
    for what in each if conn.dialect.name == "mysql" else [""]:
        conn.exec_driver_sql(f"ANALYZE {what}")


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _nodes(inner)


def _reads_all(node: dict[str, Any]) -> bool:
    if node.get("Relation Name") not in LARGE:
        return False
    if node["Node Type"] == "Seq Scan":
        return True
    through_index = node["Node Type"] in ("Index Scan", "Index Only Scan") and "Index Cond" not in node
    return through_index and node["Index Name"] not in SMALL
