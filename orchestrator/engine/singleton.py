"""Singleton: one active run of a key; a newcomer is skipped, or the run before is cancelled.

Which run is active is looked up under the gate's lock, and remembered nowhere.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core.admission import Skip
from orchestrator.core.function import Singleton
from orchestrator.core.message import Cancelled
from orchestrator.core.run import Decision, Policy, advance
from orchestrator.engine.outcome import Start
from orchestrator.engine.settle import ending_of
from orchestrator.store import runs
from orchestrator.store.apply import Applied, Holder, apply
from orchestrator.store.database import Connection
from orchestrator.store.runs import Loaded
from orchestrator.store.skips import Skipped


class Singletons:
    """The gates that one transaction goes through."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        #: The active run of each gate, as this transaction will leave it.
        self._active = dict[str, str | None]()
        #: The runs that have to give way, and to which.
        self._giving_way = dict[str, str]()

    def load(self, gate: str) -> None:
        """Read who is active at a locked gate."""
        self._active[gate] = runs.active(self._conn, gate)

    def admit(self, gate: str, option: Singleton, start: Start) -> Start | Skipped:
        """Let the run in, or not."""
        active = self._active[gate]
        if active is not None and option.mode == "skip":
            return Skipped(start.run, Skip.SINGLETON, {"run_id": active})
        if active is not None:
            self._giving_way[active] = start.run.id
        self._active[gate] = start.run.id
        return replace(start, run=replace(start.run, singleton=gate))

    def replaced(self, start: Start) -> Skipped | None:
        """Whether a later start of this transaction took the place of this one."""
        by = self._giving_way.pop(start.run.id, None)
        return Skipped(start.run, Skip.REPLACED, {"run_id": by}) if by is not None else None

    def cancel(self, by: Holder) -> tuple[list[tuple[Loaded, Decision]], Applied]:
        """Cancel the runs that give way; returns what that came to."""
        told, gone = list[tuple[Loaded, Decision]](), Applied(accepted=True)
        # All of them first, in the order in which everybody locks runs.
        locked = {run_id: runs.lock(self._conn, run_id, []) for run_id in sorted(self._giving_way)}
        for run_id, before in locked.items():
            loaded = runs.load(self._conn, run_id)
            if before is None or loaded is None:
                continue
            reason = f"singleton: run {self._giving_way[run_id]} took its place"
            decision = advance(before, Cancelled(reason), Policy(), by.now, chance=0.0)
            if not decision.effects:
                continue
            applied = apply(
                self._conn,
                None,
                before,
                decision,
                ending_of(loaded, decision, by.now),
                by,
                correlation_id=loaded.run.correlation_id,
                limited=loaded.run.limits is not None,
            )
            gone.hints += applied.hints
            gone.freed |= applied.freed
            told.append((loaded, decision))
        return told, gone
