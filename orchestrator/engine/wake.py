"""Wake a run: its sleep is over, and unless other branches are waited for it goes on at once."""

from __future__ import annotations

from orchestrator.core.message import Woke
from orchestrator.engine.branch import Branch
from orchestrator.engine.call import call
from orchestrator.engine.ends import follows
from orchestrator.engine.enter import end
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import settle
from orchestrator.store.jobs import Lease


def wake(parts: Parts, lease: Lease, _branch: Branch | None = None) -> None:
    """End the sleep a leased wake job stands for."""
    with parts.holdings.holding(lease):
        loaded, branch = Branch.load_for_end(parts, lease.run_id or "")
        if loaded is None or lease.step_id is None:
            end(parts, lease)
            return
        applied, decision = settle(parts, lease, loaded, Woke(lease.step_id), max_attempts=1)
    if applied.lease is not None:
        known = branch is not None and decision is not None and follows(branch, decision, applied)
        call(parts, applied.lease, branch if known else None)
