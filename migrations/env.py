"""Runs the migrations: with the URL given by `orchestrator.store.schema`, online only."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, pool

from orchestrator.store import mysql
from orchestrator.store.tables import metadata


def run() -> None:
    """Apply what is missing, in one transaction where the database can."""
    attributes = context.config.attributes
    given = attributes.get("connection")
    if given is not None:
        _migrate(given)
        return
    url = make_url(attributes["url"])
    make = _ENGINES.get(url.get_backend_name(), create_engine)
    engine = make(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        _migrate(connection)


def _sqlite_engine(url: URL, **options: Any) -> Engine:
    """Its driver begins a transaction for rows only, so that half an upgrade would stay where one is interrupted."""
    engine = create_engine(url, connect_args={"isolation_level": None}, **options)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


_ENGINES = {"sqlite": _sqlite_engine} | dict.fromkeys(mysql.NAMES, mysql.engine)


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        transactional_ddl=connection.dialect.name not in mysql.NAMES,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
