"""The schema, made and brought up to date by Alembic's migrations only.

Each migration works with the code before it, and revisions are numbered: so a database that is further than this code
knows is one that the next release has upgraded already, and good to work with.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_REVISION = text("SELECT version_num FROM alembic_version")


def upgrade(url: str) -> str:
    """Bring the database to the newest revision and return its name; does nothing when it is there or further."""
    from alembic import command

    at = current(url)
    if at is not None and at > head():
        return at
    command.upgrade(_config(url), "head")
    return current(url) or ""


def current(url: str) -> str | None:
    """The revision the database is at; None: no tables yet."""
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import create_engine

    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def read(conn: Connection) -> str:
    """The revision as a connection in use sees it; the driver's error where there are no tables."""
    return str(conn.execute(_REVISION).scalar_one())


@cache
def head() -> str:
    """The newest revision this code knows."""
    return _scripts(_config("sqlite://")).get_current_head() or ""


def check(url: str) -> None:
    """Raise `ConfigError` with the way out when the database is not at the newest revision, or further."""
    if sentence := complaint(current(url)):
        raise ConfigError(sentence)


def complaint(at: str | None) -> str | None:
    """What is wrong with the revision `at`, and the way out; None: this code can work with it."""
    newest = head()
    if at is not None and at >= newest:
        return None
    there = f"is at revision {at}" if at else "has no tables yet"
    return f"the database {there}, this version needs {newest}: run `orchestrator db upgrade`"


def _config(url: str) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "orchestrator:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


def _scripts(config: Config) -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(config)
