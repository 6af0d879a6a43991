"""Plans of what the page of the queue asks: no whole table is read for it, and a million sleepers are not counted."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from orchestrator.store import backlog, dead, jobs, pool_use
from orchestrator.store.database import Database
from tests.store.factories import NOW, after, insert_rows
from tests.store.plans import RUN, analyze, crowd, scans, statements

QUERIES: dict[str, Callable[[Connection], object]] = {
    "due": lambda conn: backlog.due(conn, NOW),
    "later": lambda conn: backlog.later(conn, NOW),
    "oldest_due": lambda conn: backlog.oldest_due(conn, NOW),
    "leased": lambda conn: backlog.leased(conn),
    "leases": lambda conn: backlog.leases(conn, 200),
    "parked": lambda conn: backlog.parked(conn),
    "held": lambda conn: backlog.held(conn, 10),
    "dead": lambda conn: backlog.dead(conn),
    "open_gates": lambda conn: backlog.open_gates(conn),
    "names": lambda conn: backlog.names(conn, {"f7", "f8"}),
    "crowds": lambda conn: pool_use.crowds(conn, 10),
    "page of dead jobs": lambda conn: dead.page(conn, limit=5),
    "oldest dead jobs": lambda conn: dead.oldest(conn, 100),
}


def test_no_query_of_the_page_reads_a_whole_table(database: Database) -> None:
    with database.write() as conn:
        crowd(conn)
        row = {"kind": jobs.CALL, "run_id": RUN, "run_at": NOW, "state": jobs.WAITING, "lane": "l", "rank": 0}
        insert_rows(conn, "jobs", [row | {"key": f"s:{at}", "waits_at": "13:shared"} for at in range(500)])
        pool = {"key": "13:shared", "limit_id": "limit0", "used": 1, "waiting": 500, "turn": "", "value": ""}
        insert_rows(conn, "pools", [pool])
        held = {"kind": jobs.CALL, "run_id": RUN, "run_at": after(-9), "state": jobs.HELD}
        insert_rows(conn, "jobs", [held | {"key": f"h:{at}"} for at in range(200)])
        insert_rows(conn, "jobs", [held | {"key": f"d:{at}", "state": jobs.DEAD} for at in range(200)])
        analyze(conn)

    with database.write() as conn:
        said = {name: statements(conn, query) for name, query in QUERIES.items()}
        found = {name: {table for it in asked for table in scans(conn, *it)} for name, asked in said.items()}

    assert {} == {name: tables for name, tables in found.items() if tables}
    assert all(said.values())
