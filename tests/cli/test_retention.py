"""The commands of retention against a real database file."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result

from orchestrator.cli.exits import Exit
from orchestrator.core.effect import Status
from orchestrator.store import events, runs, schema
from orchestrator.store.database import Database
from tests.store.factories import add_run, an_event

Run = Callable[..., Result]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with an ended run of forty days ago."""
    url = f"sqlite:///{tmp_path}/state.db"
    schema.upgrade(url)
    database, then = Database(url), datetime.now(UTC) - timedelta(days=40)
    event = an_event(received_at=then)
    with database.write() as conn:
        events.add(conn, [event], then, match=False)
        runs.finish(conn, add_run(conn, event_id=event.id, queued_at=then), Status.COMPLETED, None, None, then)
    database.close()
    return url


def test_what_would_go_is_counted_by_the_settings_and_stays(orchestrator: Run, url: str):
    counted = [
        json.loads(orchestrator("retention", "show", "--json", ORCHESTRATOR_DATABASE_URL=url, **settings).stdout)
        for settings in ({}, {"ORCHESTRATOR_RETENTION_RUNS": "41d"}, {"ORCHESTRATOR_RETENTION_RUNS": "0"}, {})
    ]

    assert [1, 0, 0, 1] == [told["would_free"]["runs"] for told in counted]


def test_it_is_told_to_people_line_by_line(orchestrator: Run, url: str):
    result = orchestrator("retention", "show", "--database-url", url, ORCHESTRATOR_RETENTION_AUDIT="0")

    assert (Exit.OK, True) == (result.exit_code, "runs        kept 30d         1 would go now\n" in result.stdout)
    assert "audit       kept for ever    0 would go now\n" in result.stdout
    assert result.stdout.endswith("last pass   never\n")


def test_a_pass_by_hand_tells_what_went(orchestrator: Run, url: str):
    told = [orchestrator("retention", "run", "--database-url", url).stdout for _ in range(2)]

    assert ["deleted 1 of runs, 1 of events\n", "deleted nothing\n"] == told


def test_a_database_without_tables_is_refused(orchestrator: Run, tmp_path: Path):
    result = orchestrator("retention", "run", "--database-url", f"sqlite:///{tmp_path}/empty.db")

    assert Exit.CONFIG == result.exit_code
