"""Resume a run: its pause has its answer, or has waited in vain; or an event cancels the run."""

from __future__ import annotations

import msgspec

from orchestrator import log
from orchestrator.core.effect import Status
from orchestrator.core.message import Cancelled, Message, Resumed, TimedOut
from orchestrator.engine.branch import Branch
from orchestrator.engine.call import call
from orchestrator.engine.ends import follows
from orchestrator.engine.enter import end
from orchestrator.engine.parts import Parts
from orchestrator.engine.pause import invoke_error
from orchestrator.engine.settle import settle
from orchestrator.store import events, runs
from orchestrator.store.database import Connection
from orchestrator.store.jobs import Lease
from orchestrator.store.runs import Loaded, StoredRun

_log = log.get(__name__)


class _Answer(msgspec.Struct, frozen=True):
    """The payload of a resume job: one of these."""

    event: str | None = None
    run: str | None = None
    memo: str | None = None
    error: str | None = None


class _Error(msgspec.Struct, frozen=True):
    name: str = "Error"
    message: str = ""
    stack: str | None = None


def resume(parts: Parts, lease: Lease, _branch: Branch | None = None) -> None:
    """Give the pause that a leased resume job stands for its answer, and go on."""
    with parts.holdings.holding(lease):
        loaded, branch = Branch.load_for_end(parts, lease.run_id or "")
        with parts.database.read() as conn:
            message = _answer(conn, lease) if loaded is not None else None
        _go_on(parts, lease, loaded, message, branch)


def time_out(parts: Parts, lease: Lease, _branch: Branch | None = None) -> None:
    """End a pause for which nothing came."""
    with parts.holdings.holding(lease):
        with parts.database.read() as conn:
            loaded = _loaded(conn, lease)
        _go_on(parts, lease, loaded, TimedOut(lease.step_id or "", lease.payload))


def cancel_by_event(parts: Parts, lease: Lease, _branch: Branch | None = None) -> None:
    """Cancel a run because an event of its function's `cancel` came."""
    with parts.database.read() as conn:
        loaded = _loaded(conn, lease)
        event = events.get(conn, lease.payload or "") if loaded is not None else None
    name = event.name if event is not None else "gone"
    _go_on(parts, lease, loaded, Cancelled(f"event {name} ({lease.payload})"))


def _go_on(
    parts: Parts, lease: Lease, loaded: Loaded | None, message: Message | None, branch: Branch | None = None
) -> None:
    if loaded is None or message is None:
        end(parts, lease)
        return
    applied, decision = settle(parts, lease, loaded, message, max_attempts=1)
    if not applied.accepted:
        end(parts, lease)  # It may have come just after its run was over, and with it the jobs that were there.
    if applied.accepted and decision is not None and decision.steps:
        late = isinstance(message, TimedOut)
        _log.info("run resumed", run_id=loaded.run.id, function=loaded.slug, step_id=lease.step_id, late=late)
    if applied.lease is not None:
        known = branch is not None and decision is not None and follows(branch, decision, applied)
        call(parts, applied.lease, branch if known else None)


def _loaded(conn: Connection, lease: Lease) -> Loaded | None:
    return runs.load(conn, lease.run_id) if lease.run_id is not None else None


def _answer(conn: Connection, lease: Lease) -> Resumed:
    answer = msgspec.json.decode(lease.payload or "{}", type=_Answer)
    step_id = lease.step_id or ""
    if answer.event is not None:
        event = events.get(conn, answer.event)
        return Resumed(step_id, event.payload if event is not None else "null", event_id=answer.event)
    if answer.run is not None:
        child = runs.get(conn, answer.run)
        return _end_of(step_id, child) if child is not None else Resumed(step_id)
    return Resumed(step_id, answer.memo or "null", answer.error)


def _end_of(step_id: str, child: StoredRun) -> Resumed:
    """How an invoked run ended, for the step that waits for it."""
    if child.status is Status.COMPLETED:
        return Resumed(step_id, f'{{"data":{child.output or "null"}}}')
    if child.status is Status.CANCELLED:
        message = f"the invoked run {child.id} was cancelled"
        return Resumed(step_id, error=invoke_error("InngestInvokeCancelledError", message))
    try:
        error = msgspec.json.decode(child.error or "{}", type=_Error)
    except msgspec.MsgspecError:
        error = _Error(message=child.error or "")
    return Resumed(step_id, error=invoke_error(error.name, error.message, error.stack))
