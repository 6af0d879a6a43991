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
from tests.crash.points import EVENT, FROM, STEPS, mixed
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

    def run(self, point: str, kill_at: int = 0, moment: str = "after", reruns: int = 0) -> int:
        """Let a process work until the point's run and its reruns are over; its exit status, negative for a signal."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(f"{point} {kill_at} {moment} {reruns}\n".encode())
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())

    def bodies(self, point: str) -> Counter[int]:
        """How often the body of each step ran."""
        lines = (line.split() for line in self._records.read_text().splitlines())
        return Counter(int(at) for of, at in lines if of == point)

    def outcomes(self, database: Database, point: str) -> list[tuple[str, object, int]]:
        """Status, output and number of steps of each run of a point."""
        with database.read() as conn:
            found = conn.execute(events.select().where(events.c.name == EVENT)).all()
            [event_id] = [row.id for row in found if orjson.loads(row.payload)["data"]["point"] == point]
            return [
                (run.status, orjson.loads(run.output or "null"), len(steps.of_run(conn, run.id)))
                for run in runs.of_event(conn, event_id)
            ]

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


def the_end() -> int:
    """What the function returns."""
    value = 0
    for at in range(STEPS):
        value = mixed(value, at)
    return value


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_death_around_any_commit_of_ten_steps_changes_nothing_and_repeats_no_step_that_was_kept(
    tmp_path: Path, kind: str
):
    """Enumerated: dead around commit 1, 2, 3 ..., before and after it, until a run needs no more commits."""
    expected, deaths = the_end(), 0
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

                    assert [("completed", expected, STEPS)] == ward.outcomes(database, point), point
                    repeated = commit - FIRST_STEP if moment == "before" else None
                    twice = {repeated: 2} if repeated in range(STEPS) else {}
                    assert Counter(dict.fromkeys(range(STEPS), 1) | twice) == ward.bodies(point), point
                if status == 0:
                    break
        finally:
            ward.close()
            database.close()

    assert 2 * COMMITS == deaths


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_death_around_any_commit_of_a_rerun_leaves_one_rerun_that_ends_the_same(tmp_path: Path, kind: str):
    """Enumerated like the other; the rerun itself is one commit, its steps and its end are the others."""
    expected, deaths, made, before = the_end(), 0, 0, Counter[int]()
    again = range(FROM, STEPS)
    with database_url(kind, tmp_path) as url:
        schema.upgrade(url)
        database, ward = Database(url), Ward(url, tmp_path / "records")
        try:
            assert 0 == ward.run("one")
            for commit in range(1, 3 * COMMITS):
                for moment in ("before", "after"):
                    made, before = made + 1, ward.bodies("one")
                    status = ward.run("one", commit, moment, made)
                    if status == 0:
                        break
                    assert -signal.SIGKILL == status
                    deaths += 1

                    assert 0 == ward.run("one", reruns=made)

                    assert [("completed", expected, STEPS)] * (1 + made) == ward.outcomes(database, "one")
                    bodies = ward.bodies("one") - before
                    assert set(again) == set(bodies)
                    assert len(again) <= bodies.total() <= len(again) + 1
                if status == 0:
                    break
        finally:
            ward.close()
            database.close()

    assert 2 * (1 + len(again) + 1) <= deaths
