"""The schema, made and brought up to date by Alembic's migrations only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory


def upgrade(url: str) -> str:
    """Bring the database to the newest revision and return its name; does nothing when it is there already."""
    from alembic import command

    config = _config(url)
    command.upgrade(config, "head")
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


def head() -> str:
    """The newest revision this code knows."""
    return _scripts(_config("sqlite://")).get_current_head() or ""


def check(url: str) -> None:
    """Raise `ConfigError` with the way out when the database is not at the newest revision."""
    at, newest = current(url), head()
    if at != newest:
        there = f"is at revision {at}" if at else "has no tables yet"
        raise ConfigError(f"the database {there}, this version needs {newest}: run `orchestrator db upgrade`")


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
