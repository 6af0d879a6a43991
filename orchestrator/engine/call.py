"""Work on a call job: call the function, settle its answer, and go on as long as the run wants to and may."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

from orchestrator import log
from orchestrator.core.effect import Continue, Status
from orchestrator.core.message import Threw
from orchestrator.drivers.base import Answer
from orchestrator.engine.branch import Branch
from orchestrator.engine.enter import TURN, enter, give_way, let_go, others_wait
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import settle
from orchestrator.store import jobs, runs
from orchestrator.store.apply import Applied
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
            branch = branch or _take_up(parts, held)
            held = enter(parts, held, branch) if branch is not None else None
            if branch is None or held is None:
                return
            if branch.run.status is Status.QUEUED:
                _start(parts, branch)
            limits = branch.loaded.run.limits
            parts.holdings.keep([held])
            answer = _overflow(parts, held, branch) or parts.driver.call(branch.call(parts, held))
            applied, follows = _settle(parts, held, branch, answer)
        calls += 1
        if not applied.accepted:
            let_go(parts, held)
        if applied.lease is None or not applied.accepted:
            return
        branch = branch if follows else None
        held = applied.lease
        if _had_its_turn(parts, began, calls):
            _hand_on(parts, held)
            return
        if limits is not None and held.admitted and parts.clock.now() - turn >= TURN:
            if others_wait(parts, limits):
                give_way(parts, held, limits)
                return
            turn = parts.clock.now()


def _take_up(parts: Parts, lease: Lease) -> Branch | None:
    """Load the run; None when there is nothing to call any more."""
    branch = Branch.load(parts, lease.run_id) if lease.run_id is not None else None
    if branch is None or branch.over:
        with parts.database.write() as conn:
            jobs.end(conn, lease)
        return None
    if branch.loaded.archived:
        gone = f'{{"name":"FunctionRemoved","message":"the function {branch.slug} is no longer served by its app"}}'
        _settle(parts, lease, branch, Answer(Threw(None, lease.attempt, gone, retryable=False)))
        return None
    return branch


def _start(parts: Parts, branch: Branch) -> None:
    with parts.database.write() as conn:
        runs.start(conn, branch.run.id, parts.clock.now())
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
    message = f"the run has memoised {branch.state_size} bytes; the limit is {limit} (max_state_bytes)"
    error = json.dumps({"name": "InngestErrStateOverflowed", "message": message})
    return Answer(Threw(None, lease.attempt, error, retryable=False))


def _had_its_turn(parts: Parts, began: datetime, calls: int) -> bool:
    settings = parts.settings
    return calls >= settings.continue_calls or parts.clock.now() - began >= settings.continue_span


def _hand_on(parts: Parts, lease: Lease) -> None:
    now = parts.clock.now()
    with parts.database.write() as conn:
        released = jobs.release(conn, lease, now)
    if released:
        parts.announcer.announce([Hint(lease.job_id, lease.kind, now)])
