"""Where the embedded database lives: a private directory that goes with the process, or one that stays.

A kept directory is used by one process at a time.  The lock on it is the system's, so it ends with the process whatever
way that ends, and whoever gets it knows that all leases in the database are a dead process's.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import IO

from sqlalchemy import URL

from orchestrator.errors import ConfigError
from orchestrator.store.database import Synchronous


class StateDirectory:
    """A directory with the embedded database."""

    def __init__(self, path: Path | None) -> None:
        """Open a kept directory, or with None a temporary one.  Raises `ConfigError` when somebody else uses it."""
        self.kept = path is not None
        self.path = path if path is not None else Path(tempfile.mkdtemp(prefix="orchestrator-"))
        self._lock: IO[str] | None = None
        if self.kept:
            self._take()

    @property
    def database_url(self) -> str:
        """The database's URL."""
        return URL.create("sqlite", database=str(self.path.resolve() / "state.db")).render_as_string()

    @property
    def synchronous(self) -> Synchronous:
        """How safe commits must be."""
        return "FULL" if self.kept else "OFF"

    def close(self) -> None:
        """Give the directory free; a temporary one is deleted."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if not self.kept:
            shutil.rmtree(self.path, ignore_errors=True)

    def _take(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("w")
        except OSError as error:
            raise ConfigError(f"state_dir: {self.path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise ConfigError(
                f"state_dir: {self.path} is in use by another orchestrator; stop that one, or name another directory"
            ) from None
