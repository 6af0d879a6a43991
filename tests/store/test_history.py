"""The story of a run."""

from __future__ import annotations

from orchestrator.core.effect import Record
from orchestrator.ids import new_ulid
from orchestrator.store import history
from orchestrator.store.database import Database
from orchestrator.store.history import Entry
from tests.store.factories import NOW, after


def test_a_story_is_told_in_the_order_it_was_written(database: Database) -> None:
    run_id = new_ulid()

    with database.write() as conn:
        history.add(conn, run_id, [Record("attempt failed", "s", 0, '{"a":1}'), Record("cancelled")], after(5))
        history.add(conn, new_ulid(), [Record("of another run")], NOW)
        history.add(conn, run_id, [Record("later")], NOW)

        expected = [
            Entry("attempt failed", "s", 0, '{"a":1}', after(5)),
            Entry("cancelled", None, None, None, after(5)),
            Entry("later", None, None, None, NOW),
        ]
        assert expected == history.of_run(conn, run_id)


def test_a_run_without_a_story_has_none(database: Database) -> None:
    with database.read() as conn:
        assert [] == history.of_run(conn, new_ulid())
