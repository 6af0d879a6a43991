"""A function in process, killed with -9 around every commit of its run: it ends the same, and repeats nothing kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from orchestrator.store import runs, schema, steps
from orchestrator.store.database import Database
from orchestrator.store.tables import events
from tests.crash.points import EVENT, STEPS, mixed
from tests.crash.process import ROOT
from tests.services import own_database

pytestmark = pytest.mark.timeout(240)

#: The event, the run's start, its steps, its end.
COMMITS = 1 + 1 + STEPS + 1
#: Which commit of the run keeps the first step.
FIRST_STEP = 3


class Ward:
    """Processes on one database, and what they left there."""

    def __init__(self, url: str, records: Path) -> None:
        self.url = url
        self._records = records
        records.touch()
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.points", url, str(records)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": "."},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, point: str, kill_at: int = 0, moment: str = "after") -> int:
        """Let a process work until the point's run is over; its exit status, negative for a signal."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(f"{point} {kill_at} {moment}\n".encode())
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())

    def bodies(self, point: str) -> Counter[int]:
        """How often the body of each step ran."""
        lines = (line.split() for line in self._records.read_text().splitlines())
        return Counter(int(at) for of, at in lines if of == point)

    def outcome(self, database: Database, point: str) -> tuple[str, object, int]:
        """Status, output and number of steps of the one run of a point."""
        with database.read() as conn:
            found = conn.execute(events.select().where(events.c.name == EVENT)).all()
            [event_id] = [row.id for row in found if orjson.loads(row.payload)["data"]["point"] == point]
            [run] = runs.of_event(conn, event_id)
            return run.status, orjson.loads(run.output or "null"), len(steps.of_run(conn, run.id))

    def close(self) -> None:
        os.killpg(self._parent.pid, signal.SIGKILL)
        self._parent.communicate()


@contextmanager
def database_url(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'state.db'}"
        return
    with own_database(kind) as url:
        yield url


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_death_around_any_commit_of_ten_steps_changes_nothing_and_repeats_no_step_that_was_kept(
    tmp_path: Path, kind: str
):
    """Enumerated: dead around commit 1, 2, 3 ..., before and after it, until a run needs no more commits."""
    expected = 0
    for at in range(STEPS):
        expected = mixed(expected, at)
    deaths = 0
    with database_url(kind, tmp_path) as url:
        schema.upgrade(url)
        database, ward = Database(url), Ward(url, tmp_path / "records")
        try:
            for commit in range(1, 3 * COMMITS):
                for moment in ("before", "after"):
                    point = f"{moment}-{commit}"
                    status = ward.run(point, commit, moment)
                    if status == 0:
                        break
                    assert -signal.SIGKILL == status
                    deaths += 1

                    assert 0 == ward.run(point)

                    assert ("completed", expected, STEPS) == ward.outcome(database, point), point
                    repeated = commit - FIRST_STEP if moment == "before" else None
                    twice = {repeated: 2} if repeated in range(STEPS) else {}
                    assert Counter(dict.fromkeys(range(STEPS), 1) | twice) == ward.bodies(point), point
                if status == 0:
                    break
        finally:
            ward.close()
            database.close()

    assert 2 * COMMITS == deaths
