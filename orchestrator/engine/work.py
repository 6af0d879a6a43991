"""Work on leased jobs: which kind is done by which use case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from orchestrator import log
from orchestrator.engine.branch import Branch, Held
from orchestrator.engine.bulk import carry_out
from orchestrator.engine.bury import crashed
from orchestrator.engine.call import call
from orchestrator.engine.expire import expire
from orchestrator.engine.fetch import fetch
from orchestrator.engine.look_back import look_back
from orchestrator.engine.parts import Parts
from orchestrator.engine.resume import cancel_by_event, resume, time_out
from orchestrator.engine.task import send
from orchestrator.engine.wake import wake
from orchestrator.store import jobs
from orchestrator.store.jobs import Lease

_log = log.get(__name__)

#: Kinds that are leased; match jobs are not (see `engine.match`).
HANDLERS: Mapping[str, Callable[[Parts, Lease, Branch | None], None]] = {
    jobs.BULK: carry_out,
    jobs.CALL: call,
    jobs.CANCEL: cancel_by_event,
    jobs.CANCEL_ALL: carry_out,
    jobs.FETCH: fetch,
    jobs.LOOK_BACK: look_back,
    jobs.RESUME: resume,
    jobs.RUN_TIMEOUT: expire,
    jobs.TASK: send,
    jobs.TIME_OUT: time_out,
    jobs.WAKE: wake,
}


def take(parts: Parts, job_ids: Sequence[int]) -> list[Held]:
    """Lease those of the jobs that are ready and due; hints for the others were stale."""
    return [Held(lease) for lease in parts.holdings.take(job_ids, parts.clock.now())]


def work(parts: Parts, held: Held) -> None:
    """Do a leased job.  An exception is a failure of ours: it is logged and counted, and the job comes back."""
    lease = held.lease
    try:
        HANDLERS[lease.kind](parts, lease, held.branch)
    except Exception as error:
        _log.exception("job crashed", job_id=lease.job_id, kind=lease.kind, run_id=lease.run_id)
        try:
            crashed(parts, lease, error)
        except Exception:  # the database, most likely: then the lease runs out, and is recovered
            _log.exception("crash not noted", job_id=lease.job_id)
    finally:
        parts.holdings.drop(lease)
