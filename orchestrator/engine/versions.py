"""Functions that this process has read before: their configuration is parsed once for each version."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from orchestrator.core.function import Function
from orchestrator.protocol.checkpoint import sends_checkpoints
from orchestrator.protocol.function_config import read_function
from orchestrator.store import functions
from orchestrator.store.database import Connection
from orchestrator.store.runs import Loaded


@dataclass(frozen=True, slots=True)
class Version:
    """A function as it was read last, and whether its app's SDK sends checkpoints."""

    function: Function
    checkpoints: bool


class Versions:
    """Functions read before, by id and version; bounded, the oldest go first."""

    def __init__(self, most: int = 1024) -> None:
        self._most = most
        self._known: dict[tuple[str, int], Version] = {}

    def get(self, function_id: str, version: int) -> Version | None:
        """The function, if it was read before."""
        return self._known.get((function_id, version))

    def read(self, loaded: Loaded) -> Version:
        """The function whose configuration this is.  An app may change its SDK and leave its functions as they are."""
        key = (loaded.run.function_id, loaded.version)
        checkpoints = sends_checkpoints(loaded.sdk_language, loaded.sdk_version)
        found = self._known.get(key)
        if found is None or found.checkpoints != checkpoints:
            function = functions.limited(_parsed(loaded.config), loaded.imposed, loaded.overrides)
            if len(self._known) >= self._most:
                self._known.pop(next(iter(self._known)), None)
            found = self._known[key] = Version(function, checkpoints)
        return found

    def function(self, conn: Connection, function_id: str, version: int) -> Function | None:
        """A function as it was declared at this version, or is now; None: there is none."""
        known = self.get(function_id, version)
        if known is not None:
            return known.function
        stored = functions.function(conn, function_id)
        if stored is None:
            return None
        return functions.limited(_parsed(stored.config), stored.imposed, stored.overrides)


def _parsed(config: str) -> Function:
    return read_function(msgspec.json.decode(config), "the stored function", ours=True)
