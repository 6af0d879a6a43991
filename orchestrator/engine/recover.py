"""Recover what a dead process held: its jobs are ready again, and one that keeps killing its workers is buried."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator import log
from orchestrator.engine.bury import bury
from orchestrator.engine.parts import Parts
from orchestrator.queue.admit import free_abandoned
from orchestrator.store import losses
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.jobs import Hint, Lease

_log = log.get(__name__)


def recover(parts: Parts, dead_owners: Sequence[str] = ()) -> int:
    """Take back leases that ran out or whose holders are dead; returns how many jobs are ready again."""
    now = parts.clock.now()
    with parts.database.read() as conn:
        lost = losses.lost(conn, now, dead_owners)
    back = [lease for lease in lost if lease.crashes + 1 < parts.settings.max_crashes]
    ready = _take_back(parts, back, now, dead_owners)
    free_abandoned(parts.database, parts.announcer, now, dead_owners)
    for lease in lost:
        if lease not in back:
            _bury(parts, lease)
    return ready


@undisturbed
def _take_back(parts: Parts, back: Sequence[Lease], now: datetime, dead_owners: Sequence[str]) -> int:
    if not back:
        return 0
    with parts.database.write() as conn:
        ready = [lease for lease in back if losses.recover(conn, lease, now)]
    for lease in ready:
        _log.warning(
            "lease recovered",
            job_id=lease.job_id,
            kind=lease.kind,
            run_id=lease.run_id,
            crashes=lease.crashes + 1,
            owner=lease.owner,
            died=lease.owner in dead_owners,
        )
    parts.announcer.announce([Hint(lease.job_id, lease.kind, now) for lease in ready])
    return len(ready)


def _bury(parts: Parts, lease: Lease) -> None:
    """Bury one; a failure at it must not keep the others from being recovered, now and at every round."""
    try:
        bury(parts, lease, f"its worker was lost {lease.crashes + 1} times while at it")
    except Exception:
        _log.exception("burial crashed", job_id=lease.job_id, run_id=lease.run_id)
