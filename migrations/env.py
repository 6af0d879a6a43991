"""Runs the migrations: with the URL given by `orchestrator.store.schema`, online only."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine, make_url, pool

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
    make = mysql.engine if url.get_backend_name() in mysql.NAMES else create_engine
    engine = make(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        _migrate(connection)


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


run()
