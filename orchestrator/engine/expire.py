"""Expire a run: it has not begun, or not ended, within the time that its function gives it."""

from __future__ import annotations

from orchestrator.engine.branch import Branch
from orchestrator.engine.enter import end
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import settle
from orchestrator.store import run_timeouts, runs
from orchestrator.store.jobs import Lease


def expire(parts: Parts, lease: Lease, _branch: Branch | None = None) -> None:
    """Cancel the run whose time a leased job says is up; one that began in time, or is over, stays as it is."""
    with parts.database.read() as conn:
        loaded = runs.load(conn, lease.run_id) if lease.run_id is not None else None
    if loaded is None:
        end(parts, lease)
        return
    settle(parts, lease, loaded, run_timeouts.read(lease.payload or ""), max_attempts=1)
