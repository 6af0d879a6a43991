"""Signs of life: a process that is killed is missed at once, and nobody else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.store.database import Database
from orchestrator.store.presence import Presence
from tests.store.factories import PATIENCE

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, time
from orchestrator.store.database import Database
from orchestrator.store.presence import Presence
presence = Presence(Database(sys.argv[1]))
presence.begin()
print(presence.owner, flush=True)
time.sleep(60)
"""


@contextmanager
def present(database: Database) -> Iterator[Presence]:
    presence = Presence(database)
    presence.begin()
    yield presence
    presence.close()


def await_missing(judge: Presence, owner: str) -> None:
    """The server ends a session a moment after its connection."""
    deadline = time.monotonic() + PATIENCE
    while not judge.missing([owner]):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_that_is_killed_is_missed_at_once(concurrent: Database, url: str) -> None:
    command = [sys.executable, "-c", PROGRAM, url]
    with (
        present(concurrent) as judge,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": "."}) as process,
    ):
        assert process.stdout is not None
        owner = process.stdout.readline().decode().strip()
        while_it_lives = judge.missing([owner])
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

        await_missing(judge, owner)

    assert set() == while_it_lives


def test_only_those_who_have_signs_are_judged_and_never_oneself(concurrent: Database) -> None:
    with present(concurrent) as judge, present(concurrent) as other:
        silent = Presence(concurrent)
        asked = [judge.owner, other.owner, silent.owner, "p-nobody", *(f"p-{number}" for number in range(200))]

        missing = judge.missing(asked)

    assert {"p-nobody", *(f"p-{number}" for number in range(200))} == missing


def test_a_sign_is_taken_anew_after_a_lost_connection(concurrent: Database) -> None:
    with present(concurrent) as presence, present(concurrent) as judge:
        presence.close()
        await_missing(judge, presence.owner)

        assert presence.keep()
        assert set() == judge.missing([presence.owner])


def test_where_the_database_gives_no_sign_the_name_tells(database: Database) -> None:
    with present(database) as presence:
        assert (database.kind != "sqlite") == presence.owner.startswith("p-") == presence.keep()
