"""What fails most: failures that are alike, with an example of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.failure import Failure, read_failure, shape
from orchestrator.store import failures, functions, search
from orchestrator.store.database import Connection
from orchestrator.store.failures import Group
from orchestrator.store.functions import StoredFunction

#: The most groups that may be asked for.
MOST = 100


@dataclass(frozen=True, slots=True)
class Alike:
    """Failures of one function that are alike."""

    group: Group
    #: None: the function is gone.
    function: StoredFunction | None
    #: The error of the last of them.
    example: Failure

    @property
    def shape(self) -> str:
        """What their messages have in common."""
        return shape(self.example.message)


@dataclass(frozen=True, slots=True)
class WhatFails:
    """The largest groups; where not `exact` only the latest failures were looked at."""

    groups: Sequence[Alike]
    #: Failures that were looked at, and how many groups they make.
    total: int
    number: int
    exact: bool


def what_fails(conn: Connection, since: datetime, until: datetime, limit: int) -> WhatFails:
    """The failures of a range of time, by when they ended, the most frequent first, at most `limit` groups."""
    found = failures.groups(conn, since, until, limit)
    known = {it.id: it for it in functions.functions_of(conn)} if found.found else {}
    errors = search.outputs(conn, [it.run_id for it in found.found if it.run_id is not None])
    groups = [Alike(it, known.get(it.function_id), read_failure(errors.get(it.run_id or ""))) for it in found.found]
    return WhatFails(groups, found.total, found.number, found.exact)
