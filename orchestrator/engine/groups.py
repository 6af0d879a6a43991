"""Runs as the calls of planned steps get them: read once for all steps that were planned together.

A planned step needs the memo of what comes before it in its chain, and that was memoised when it was planned.  So its
job says up to which outcome the memo went then, and every call of the group, also one that is repeated, gets just that:
nothing has to be read or written anew because siblings end.  That the run still lives is what the lease says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it knows `engine.parts`, which has the groups
    from orchestrator.engine.branch import Branch

#: What the app says of itself may change: a group is read again after this.
_FRESH = timedelta(seconds=5)


@dataclass(slots=True)
class _Group:
    """One memo of one run; `lock` lets one of those who come together read it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    branch: Branch | None = None
    read_at: datetime | None = None


class Groups:
    """The groups that this process called steps of last; bounded in number and in bytes."""

    def __init__(self, most: int = 64, most_bytes: int = 64 * 1024 * 1024) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], _Group] = {}

    def branch(self, run_id: str, last_seq: int, now: datetime, read: Callable[[], Branch | None]) -> Branch | None:
        """The run with the memo up to the outcome of this number, as `read` gives it; None: there is no such run."""
        group = self._group((run_id, last_seq))
        with group.lock:
            if group.read_at is None or now - group.read_at >= _FRESH:
                group.branch, group.read_at = read(), now
                self._forget_some()
            return group.branch

    def _group(self, key: tuple[str, int]) -> _Group:
        with self._lock:
            group = self._known.pop(key, None) or _Group()
            self._known[key] = group  # the last one used is last
            return group

    def _forget_some(self) -> None:
        with self._lock:
            size = sum(group.branch.state_size for group in self._known.values() if group.branch is not None)
            while len(self._known) > 1 and (len(self._known) > self._most or size > self._most_bytes):
                forgotten = self._known.pop(next(iter(self._known)))
                size -= forgotten.branch.state_size if forgotten.branch is not None else 0
