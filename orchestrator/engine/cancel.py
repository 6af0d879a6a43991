"""Cancel a run: nothing of it starts any more, and what is in flight is ignored when it comes back."""

from __future__ import annotations

from orchestrator.core.message import Cancelled
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import settle
from orchestrator.errors import NotFoundError
from orchestrator.store import audit, runs
from orchestrator.store.database import Connection


def cancel(parts: Parts, run_id: str, reason: str, actor: str | None = None) -> bool:
    """Cancel a run because an operator wants it; False: it had ended before.  Raises `NotFoundError`.

    The audit is told in the same transaction.
    """

    def note(conn: Connection) -> None:
        audit.record(conn, "run cancelled", run_id, parts.clock.now(), actor=actor)

    with parts.database.read() as conn:
        loaded = runs.load(conn, run_id)
    if loaded is None:
        raise NotFoundError(f"there is no run {run_id}")
    applied, decision = settle(parts, None, loaded, Cancelled(reason), max_attempts=1, note=note)
    return applied.accepted and decision is not None and bool(decision.effects)
