"""Cancel a run: nothing of it starts any more, and what is in flight is ignored when it comes back."""

from __future__ import annotations

from orchestrator.core.message import Cancelled
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import settle
from orchestrator.errors import NotFoundError
from orchestrator.store import runs


def cancel(parts: Parts, run_id: str, reason: str) -> bool:
    """Cancel a run; False: it had ended before.  Raises `NotFoundError`."""
    with parts.database.read() as conn:
        loaded = runs.load(conn, run_id)
    if loaded is None:
        raise NotFoundError(f"there is no run {run_id}")
    applied, decision = settle(parts, None, loaded, Cancelled(reason), max_attempts=1)
    return applied.accepted and decision is not None and bool(decision.effects)
