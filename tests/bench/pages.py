"""The dashboard's pages over very many runs on PostgreSQL: how long each takes, and what an open page of a run costs.

    python -m tests.bench.pages --runs 100000

The runs are written by the database itself (`tests.bench.crowd`), and so are as many parked jobs and ten times as many
that sleep (`tests.bench.waiting`).  Pages are asked for in this process, so that the time is the server's: reading, and
writing the page.  CPU time is that of this process and of PostgreSQL's for it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from flask.testing import FlaskClient
from sqlalchemy import text

from orchestrator.api.app import create_app
from orchestrator.api.dashboard.run import EVERY
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.bootstrap import parts
from orchestrator.clock import SettableClock
from orchestrator.config import Config
from orchestrator.core.effect import SaveStep, StepStatus
from orchestrator.engine.tally import recount
from orchestrator.ids import ulid_from_uuid
from orchestrator.queue.announce import Silence
from orchestrator.store import schema, steps
from orchestrator.store.database import Database
from tests.bench import crowd, waiting
from tests.services import own_database

#: Steps of the run whose page is open.
STEPS = 100
_TICKS = os.sysconf("SC_CLK_TCK")

LISTS = {
    "overview of an hour": "/overview?span=1h",
    "overview of a day": "/overview?span=24h",
    "overview of a month": "/overview?span=30d",
    "runs of a kind of failure": f"/runs?status=failed&failure={crowd.FAILURE}&by=ended&span=24h",
    "runs of a kind of failure, counted": f"/runs/bulk?status=failed&failure={crowd.FAILURE}&function=app0-f0",
    "runs": "/runs",
    "runs, failed": "/runs?status=failed",
    "runs of a function with half of all": "/runs?function=app0-f0",
    "runs of a function with few": f"/runs?function=app3-f{crowd.RARE}",
    "runs of the last hour": "/runs?span=1h",
    "runs by an expression, rare": "/runs?q=event.data.number+%3D%3D+17",
    "runs by an expression, frequent": "/runs?q=event.data.plan+%3D%3D+%22free%22",
    "runs, nothing new": "/runs/list?seen={seen}",
    "many runs, counted": "/runs/bulk?status=failed",
    "a prospect of many runs by an expression": "/runs/bulk?status=failed&q=event.data.plan+%3D%3D+%22free%22",
    "events": "/events",
    "events of a frequent name": "/events?name=crowd/event.0",
    "events by an expression, rare": "/events?q=event.data.number+%3D%3D+17",
    "events, the server's own too": "/events?internal=1&span=24h",
    "functions": "/functions",
    "a function with half of all runs, 10 000 keys crowded": "/functions/app0-f0",
    "a function with few runs": f"/functions/app3-f{crowd.RARE}",
    "apps": "/apps",
    "users": "/users",
    "queue": "/queue",
    "queue, asked by an open page": "/queue/live?seen=nothing",
    "queue, what was given up": "/queue/dead",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """Milliseconds of one page."""

    name: str
    median: float
    worst: float
    cpu: float


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pages", description="Measure the dashboard's pages.")
    parser.add_argument("--runs", type=int, default=100_000, metavar="N", help="runs in the database (100 000)")
    parser.add_argument("--times", type=int, default=20, metavar="K", help="how often each page is asked for (20)")
    asked = parser.parse_args()
    with _server(asked.runs) as (client, run_id, pid):
        figures = list(_measured(client, run_id, asked.times, pid))
    print(f"| page, {asked.runs} runs | median ms | slowest ms | CPU-ms |\n|---|---|---|---|")
    for it in figures:
        print(f"| {it.name} | {it.median:.0f} | {it.worst:.0f} | {it.cpu:.1f} |")
    poll = next(it for it in figures if it.name.startswith("a run, nothing new"))
    print(f"an open page of a run: {poll.cpu / EVERY * 100:.2f} % of a core")
    return 0


@contextmanager
def _server(runs: int) -> Iterator[tuple[FlaskClient, str, Callable[[], Sequence[int]]]]:
    with own_database("postgresql") as url:
        schema.upgrade(url)
        made = parts(Config(), url, Silence(), clock=SettableClock(crowd.LAST))
        with made.database.write() as conn:
            crowd.declare(conn)
            crowd.fill(conn, runs)
            crowd.crowd_pools(conn)
            waiting.fill(conn, parked=runs, asleep=10 * runs)
        began = time.perf_counter()
        recount(made.database, crowd.LAST)
        print(f"all runs counted by minutes in {time.perf_counter() - began:.1f} s")
        with made.database.read() as conn:
            conn.execute(text("VACUUM ANALYZE"))
            newest = text("SELECT id FROM runs WHERE status = 'running' ORDER BY id DESC LIMIT 1")
            name = ulid_from_uuid(str(conn.execute(newest).scalar_one()))
        _give_steps(made.database, name)
        yield create_app(made, doors=Doors(login=False)).test_client(), name, lambda: _backends(made.database)
        made.database.close()


def _give_steps(database: Database, run_id: str) -> None:
    """A run in mid-work, with many steps behind it."""
    at = crowd.LAST - timedelta(minutes=1)
    done = [
        SaveStep(f"{number:040x}", f"step {number}", "StepRun", StepStatus.COMPLETED, memo='{"data":1}', fresh=True)
        for number in range(STEPS)
    ]
    with database.write() as conn:
        steps.save(conn, run_id, done, at)


def _measured(client: FlaskClient, run_id: str, times: int, pids: Callable[[], Sequence[int]]) -> Iterator[Figure]:
    seen = _seen(client.get("/runs").text)
    for name, path in LISTS.items():
        yield _figure(client, name, path.format(seen=seen), times, pids)
    yield _figure(client, f"a run of {STEPS} steps", f"/runs/{run_id}", times, pids)
    event = client.get(f"/runs/{run_id}").text.partition('href="/events/')[2][:26]
    yield _figure(client, "an event with its runs", f"/events/{event}", times, pids)
    mark = _seen(client.get(f"/runs/{run_id}").text)
    yield _figure(client, f"a run, nothing new ({STEPS} steps)", f"/runs/{run_id}/live?seen={mark}", times * 10, pids)


def _figure(client: FlaskClient, name: str, path: str, times: int, pids: Callable[[], Sequence[int]]) -> Figure:
    client.get(path)
    spent, known, began = [], pids(), _cpu(pids())
    for _ in range(times):
        start = time.perf_counter()
        answer = client.get(path)
        spent.append((time.perf_counter() - start) * 1000)
        assert answer.status_code in (200, 204), (path, answer.status_code)
    cpu = (_cpu(known) - began) * 1000 / times
    return Figure(name, statistics.median(spent), max(spent), cpu)


def _cpu(pids: Sequence[int]) -> float:
    """CPU seconds of this process and of the database's processes for it."""
    return time.process_time() + sum(_cpu_of(pid) for pid in pids)


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _backends(database: Database) -> list[int]:
    with database.read() as conn:
        rows = conn.execute(text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")).all()
    return [row.pid for row in rows]


def _seen(page: str) -> str:
    return page.partition("seen=")[2].partition('"')[0]


if __name__ == "__main__":
    raise SystemExit(main())
