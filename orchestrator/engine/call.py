"""Work on a call job: call the function, settle its answer, and go on as long as the run wants to and may."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from orchestrator import log
from orchestrator.core.effect import Continue, Status
from orchestrator.core.message import Threw
from orchestrator.drivers.base import Answer
from orchestrator.drivers.local import app_of
from orchestrator.engine import throttle
from orchestrator.engine.branch import Branch
from orchestrator.engine.enter import TURN, end, enter, give_way, let_go, others_wait
from orchestrator.engine.parts import Parts
from orchestrator.engine.progress import Progress
from orchestrator.engine.settle import settle
from orchestrator.protocol.run_errors import STATE_OVERFLOWED, error_text, too_much_state
from orchestrator.queue.admit import admit
from orchestrator.store import functions, held, jobs, run_timeouts, runs, slots
from orchestrator.store.apply import Applied
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.jobs import Hint, Lease

_log = log.get(__name__)


def call(parts: Parts, lease: Lease, branch: Branch | None = None) -> None:
    """Make the calls of a leased call job until the run rests, ends, or has had its turn.

    `branch` is the run as far as it is known already.
    """
    began, calls = parts.clock.now(), 0
    turn = began
    held: Lease | None = lease
    while held is not None:
        with parts.holdings.holding(held):
            branch = _take_up(parts, held, branch)
            held = _begin(parts, held, branch) if branch is not None else None
            if branch is None or held is None:
                return
            limits = branch.loaded.run.limits
            parts.holdings.keep([held])
            answer, held = _answer(parts, held, branch)
            if answer is None:
                let_go(parts, held)
                return
            applied, follows = _settle(parts, held, branch, answer)
        calls += 1
        if not applied.accepted:
            let_go(parts, held)
        if applied.lease is None or not applied.accepted:
            return
        branch = branch if follows else None
        held = applied.lease
        if _had_its_turn(parts, began, calls):
            hand_on(parts, held)
            return
        if limits is not None and held.admitted and parts.clock.now() - turn >= TURN:
            if others_wait(parts, limits):
                give_way(parts, held, limits)
                return
            turn = parts.clock.now()


def _begin(parts: Parts, lease: Lease, branch: Branch) -> Lease | None:
    """Make ready for a call: it needs this process, or another, and slots.  None: it is not made here and now."""
    app = app_of(branch.function.url)
    if app is not None and not parts.local.holds(app):
        hand_on(parts, lease, app)
        return None
    queued = branch.run.status is Status.QUEUED
    # With some options there is more to a beginning than the run's own row.
    begins = queued and not branch.function.timeouts and branch.function.throttle is None
    entered = enter(parts, lease, branch.loaded, begins=begins)
    if entered is None:
        return None
    if begins and entered.admitted and not lease.admitted:
        branch.run = replace(branch.run, status=Status.RUNNING)
    elif queued:
        _start(parts, branch)
    return entered


def _answer(parts: Parts, lease: Lease, branch: Branch) -> tuple[Answer | None, Lease]:
    """Make the call.  An answer of None says that nothing is to be made of it: somebody else has the job now."""
    overflow = _overflow(parts, lease, branch)
    if overflow is not None:
        return overflow, lease
    app = app_of(branch.function.url)
    if app is None:
        return parts.driver.call(branch.call(parts, lease)), lease
    progress = Progress(parts, lease, branch)
    answer = parts.local.call(app, branch.call(parts, lease), progress)
    return answer, progress.lease


def _take_up(parts: Parts, lease: Lease, branch: Branch | None) -> Branch | None:
    """Load the run unless it is known; None when there is nothing to call any more."""
    branch = branch or _read(parts, lease)
    if branch is None or branch.over:
        end(parts, lease)
        return None
    if branch.loaded.archived:
        gone = f'{{"name":"FunctionRemoved","message":"the function {branch.slug} is no longer served by its app"}}'
        _settle(parts, lease, branch, Answer(Threw(None, lease.attempt, gone, retryable=False)))
        return None
    if branch.loaded.timed and _is_late(parts, lease, branch):
        return None
    if branch.run.status is Status.QUEUED and branch.loaded.paused and _held(parts, lease, branch):
        return None
    return branch


@undisturbed
def _held(parts: Parts, lease: Lease, branch: Branch) -> bool:
    """Hold the job until its function is resumed, unless it was meanwhile; the slots it has are for others."""
    run_id, freed = branch.run.id, set[str]()
    with parts.database.write() as conn:
        # The function's row stays locked, so that resuming comes before this, or after it and finds the job held.
        holds = functions.is_paused(conn, branch.loaded.run.function_id) and held.hold(conn, lease)
        if holds and branch.loaded.run.limits is not None:
            freed = slots.end_runs(conn, [run_id], lease, [])
    admit(parts.database, parts.announcer, freed, parts.clock.now())
    return holds


def _is_late(parts: Parts, lease: Lease, branch: Branch) -> bool:
    """End a run whose time is up.  Its own job does that, but may come after this one where many wait for a worker."""
    with parts.database.read() as conn:
        expired = run_timeouts.overdue(conn, branch.run.id, parts.clock.now())
    if expired is not None:
        settle(parts, lease, branch.loaded, expired, max_attempts=1)
    return expired is not None


def _read(parts: Parts, lease: Lease) -> Branch | None:
    run_id = lease.run_id or ""
    if lease.step_id is None:
        return Branch.load(parts, run_id)
    last_seq = int(lease.payload or 0)
    return parts.groups.branch(run_id, last_seq, parts.clock.now(), lambda: Branch.as_planned(parts, run_id, last_seq))


@undisturbed
def _start(parts: Parts, branch: Branch) -> None:
    now, timeouts, throttled = parts.clock.now(), branch.function.timeouts, branch.function.throttle is not None
    if timeouts or throttled:
        with parts.database.write() as conn:
            hints = throttle.begin(conn, branch.run.id, branch.loaded.run.function_id, now) if throttled else []
            started = runs.start(conn, branch.run.id, now)
            hints += run_timeouts.begin(conn, branch.run.id, timeouts, now) if started else []
        parts.announcer.announce(hints)
    else:
        with parts.database.write_one() as conn:
            runs.start(conn, branch.run.id, now)
    branch.run = replace(branch.run, status=Status.RUNNING)


def _settle(parts: Parts, lease: Lease, branch: Branch, answer: Answer) -> tuple[Applied, bool]:
    """What came of the answer, and whether the branch could follow it; if not, others of the run were at work too."""
    version = answer.request_version
    news = version if version is not None and version != branch.request_version else None
    top = lease.step_id is None
    known = branch.run if top and branch.alone and not branch.invites_checkpoints(lease) else None
    sent = branch.memo if top and known is None else None
    applied, decision = settle(
        parts, lease, branch.loaded, answer.reply, branch.function.max_attempts, known, request_version=news, sent=sent
    )
    if not applied.accepted:
        _log.warning("lease lost", run_id=branch.run.id, function=branch.slug, job_id=lease.job_id)
        return applied, False
    if known is None or decision is None or not isinstance(decision.then, Continue):
        return applied, False
    branch.follow(decision)
    branch.request_version = version if version is not None else branch.request_version
    return applied, branch.alone


def _overflow(parts: Parts, lease: Lease, branch: Branch) -> Answer | None:
    """The end of a run that has memoised more than it may, in place of one more call."""
    limit = parts.settings.max_state_bytes
    if branch.state_size <= limit:
        return None
    error = error_text(STATE_OVERFLOWED, too_much_state(branch.state_size, limit))
    return Answer(Threw(None, lease.attempt, error, retryable=False))


def _had_its_turn(parts: Parts, began: datetime, calls: int) -> bool:
    settings = parts.settings
    return calls >= settings.continue_calls or parts.clock.now() - began >= settings.continue_span


@undisturbed
def hand_on(parts: Parts, lease: Lease, app: str | None = None) -> None:
    """Give a leased job back, for whoever comes next, or for a process that holds the app."""
    now = parts.clock.now()
    with parts.database.write() as conn:
        released = jobs.release(conn, lease, now)
    if released:
        parts.announcer.announce([Hint(lease.job_id, lease.kind, now, app)])
