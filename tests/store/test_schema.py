"""The schema: what the migrations make is what the code expects, and every way between two versions is open."""

from __future__ import annotations

from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, make_url, text

from orchestrator.errors import ConfigError
from orchestrator.store import schema
from orchestrator.store.database import Database
from orchestrator.store.indexes import ONLY
from orchestrator.store.tables import metadata

UUID = "00000000-0000-4000-8000-000000000000"


def config(url: str = "sqlite://") -> Config:
    config = Config()
    config.set_main_option("script_location", "orchestrator:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


def ask(url: str, question: Any) -> Any:
    engine = create_engine(url)
    try:
        with engine.connect() as conn:
            return question(conn)
    finally:
        engine.dispose()


def partial_indexes(url: str) -> dict[str, str]:
    kind = make_url(url).get_backend_name()
    where = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '%WHERE%'",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE indexdef LIKE '%WHERE%'",
    }
    rows = ask(url, lambda conn: conn.execute(text(where[kind])).all())
    return {name: definition.split("WHERE")[1].strip(" ()") for name, definition in rows}


def test_the_migrations_make_exactly_the_tables_of_the_code(url: str) -> None:
    dialect = make_url(url).get_backend_name()

    def expected(item: Any, _name: str | None, kind: str, reflected: bool, _found: Any) -> bool:
        return kind != "index" or reflected or dialect in item.info.get(ONLY, dialect)

    # MySQL spells false 0, which looks like a difference; the test below compares the defaults by themselves.
    options = {"compare_type": True, "compare_server_default": dialect != "mysql", "include_object": expected}

    def difference(conn: Any) -> Any:
        return compare_metadata(MigrationContext.configure(conn, opts=options), metadata)

    assert [] == ask(url, difference)


def test_the_migrations_set_the_same_defaults_as_the_code(url: str, blank_url: str) -> None:
    engine = create_engine(blank_url)
    metadata.create_all(engine)
    engine.dispose()

    assert defaults(blank_url) == defaults(url)


def defaults(url: str) -> dict[str, str]:
    def read(conn: Any) -> dict[str, str]:
        columns = {table: inspect(conn).get_columns(table) for table in metadata.tables}
        return {
            f"{table}.{column['name']}": column["default"]
            for table, found in columns.items()
            for column in found
            if column["default"] is not None
        }

    found: dict[str, str] = ask(url, read)
    assert "jobs.again" in found
    return found


def test_the_small_indexes_cover_what_their_loops_look_for(url: str) -> None:
    if make_url(url).get_backend_name() == "mysql":
        pytest.skip("MySQL has no partial indexes")
    assert {
        "ix_jobs_dead": "state = 5",
        "ix_jobs_held": "state = 0",
        "ix_jobs_leased": "state = 3",
        "ix_jobs_parked": "state = 1",
        "ix_jobs_ready": "state = 2",
        "ix_pools_waiting": "waiting > 0",
        "ix_runs_batch_id": "batch_id IS NOT NULL",
        "ix_runs_failed_at": "failure IS NOT NULL",
        "ix_runs_failure": "failure IS NOT NULL",
        "ix_runs_original_run_id": "original_run_id IS NOT NULL",
        "ix_runs_singleton": "singleton IS NOT NULL",
        "ix_slots_until": "until IS NOT NULL",
    } == partial_indexes(url)


def test_upgrading_twice_does_nothing_the_second_time(blank_url: str) -> None:
    assert None is schema.current(blank_url)

    assert [schema.head()] * 2 == [schema.upgrade(blank_url), schema.upgrade(blank_url)]
    assert schema.head() == schema.current(blank_url)


def test_the_way_down_to_nothing_and_up_again_is_open(blank_url: str) -> None:
    schema.upgrade(blank_url)

    command.downgrade(config(blank_url), "base")
    left = ask(blank_url, lambda conn: inspect(conn).get_table_names())
    again = schema.upgrade(blank_url)

    assert ["alembic_version"] == left
    assert schema.head() == again


def test_indexes_that_are_added_to_rows_are_made_whole_even_after_an_interruption(blank_url: str) -> None:
    command.upgrade(config(blank_url), "0002")
    kind = make_url(blank_url).get_backend_name()
    moment, key = "0" if kind == "sqlite" else "now()", f"'{UUID}'"
    if kind == "mysql":
        key = f"unhex(replace({key}, '-', ''))"
    event = f"INSERT INTO events (id, name, ts, payload, received_at) VALUES ({key}, 'a', 0, '{{}}', {moment})"
    left_over = "CREATE INDEX ix_runs_ended_at ON runs (id)"

    def fill(conn: Any) -> None:
        conn.execute(text(event))
        if conn.dialect.name == "postgresql":
            conn.execute(text(left_over))
        conn.commit()

    ask(blank_url, fill)
    schema.upgrade(blank_url)

    made = {it["name"]: it["column_names"] for it in ask(blank_url, lambda conn: inspect(conn).get_indexes("runs"))}
    assert (["ended_at", "id"], ["queued_at", "id"]) == (made["ix_runs_ended_at"], made["ix_runs_queued_at"])


def test_the_check_passes_at_the_newest_revision(url: str) -> None:
    schema.check(url)


def test_the_check_tells_the_way_out_of_an_empty_database(blank_url: str) -> None:
    with pytest.raises(ConfigError, match=r"has no tables yet, .* needs \d+: run `orchestrator db upgrade`"):
        schema.check(blank_url)


def test_the_check_tells_the_revision_of_another_version(blank_url: str) -> None:
    schema.upgrade(blank_url)
    database = Database(blank_url)
    with database.write() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    database.close()

    with pytest.raises(ConfigError, match=r"is at revision 0000, .* run `orchestrator db upgrade`"):
        schema.check(blank_url)


def test_the_migrations_have_one_head() -> None:
    assert [schema.head()] == ScriptDirectory.from_config(config()).get_heads()
