"""Cancel many runs at once: an order, and the job that carries it out batch by batch.

Each batch is one transaction that also notes how far the order got, so that whoever takes the job over goes on there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from orchestrator import log
from orchestrator.core.effect import Record
from orchestrator.core.message import Cancelled
from orchestrator.core.run import Decision, Run, advance
from orchestrator.engine.branch import Branch
from orchestrator.engine.call import hand_on
from orchestrator.engine.enter import follow_up
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import ending_of, tell
from orchestrator.errors import ExpressionError, NotFoundError, RequestError
from orchestrator.expressions.cel import compile_expression
from orchestrator.ids import new_ulid
from orchestrator.store import apply, cancellations, functions, jobs, runs
from orchestrator.store.apply import Applied, CancelledRun, Holder
from orchestrator.store.cancellations import Cancellation, Meant
from orchestrator.store.database import Connection
from orchestrator.store.jobs import Lease
from orchestrator.store.runs import Loaded

_log = log.get(__name__)

#: Live runs looked at in one transaction.
BATCH = 100
#: Clocks of senders may be ahead of ours by so much.
_SKEW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Wish:
    """Which runs are to be cancelled; `app` is a name, `function` an id within the app or a slug."""

    app: str
    function: str | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
    expression: str | None = None


def order(parts: Parts, wish: Wish) -> Cancellation:
    """Write the order to cancel the runs; workers carry it out.  Raises `RequestError`, `NotFoundError`."""
    now = parts.clock.now()
    before = wish.started_before or now
    _check(wish, before, now)
    with parts.database.write() as conn:
        app_id, function_id = _whose(conn, wish)
        ordered = Cancellation(
            new_ulid(), app_id, function_id, before, now, wish.started_after, wish.expression or None
        )
        hint = cancellations.add(conn, ordered)
    parts.announcer.announce([hint])
    _log.info("cancellation ordered", cancellation=ordered.id, app=wish.app, function=wish.function)
    return ordered


def cancel_all(parts: Parts, lease: Lease, _branch: Branch | None = None) -> None:
    """Carry on with the order of a leased job until it is done, or has had its turn."""
    began = parts.clock.now()
    with parts.holdings.holding(lease):
        while _batch(parts, lease):
            if parts.clock.now() - began >= parts.settings.continue_span:
                hand_on(parts, lease)
                return


def _batch(parts: Parts, lease: Lease) -> bool:
    """Cancel some; False: there are no more, or somebody else carries on."""
    with parts.database.read() as conn:
        found = cancellations.get(conn, lease.payload or "")
        following = cancellations.following(conn, found, BATCH) if found is not None else []
        meant = cancellations.meant(conn, found, following) if found is not None else []
    if found is None or not following:
        _end(parts, lease, found)
        return False
    chosen, error = _agreeing(found, meant)
    by = parts.holder()
    with parts.database.write() as conn:
        if not jobs.reset(conn, lease):
            return False
        decided = [(run, _decide(parts, run, found.id, by)) for run in runs.lock_live(conn, chosen)]
        cancelled = [_cancelled(run, made, by) for run, made in decided]
        applied = apply.cancel_all(conn, cancelled, by.now) if decided else Applied(accepted=True)
        cancellations.progress(conn, found.id, following[-1], len(decided), error or found.error)
    follow_up(parts, applied)
    for run, decision in decided:
        tell(run, decision, by, max_attempts=1)
    return True


def _end(parts: Parts, lease: Lease, done: Cancellation | None) -> None:
    now = parts.clock.now()
    with parts.database.write() as conn:
        ended = jobs.end(conn, lease)
        if ended and done is not None:
            cancellations.end(conn, done.id, now)
    if ended and done is not None:
        _log.info("cancellation carried out", cancellation=done.id, runs=done.cancelled)


def _decide(parts: Parts, run: Loaded, order_id: str, by: Holder) -> Decision:
    message = Cancelled(f"cancellation {order_id}")
    return advance(Run(run.run.id, run.run.status), message, parts.settings.policy(1), by.now, 0.0)


def _cancelled(run: Loaded, decision: Decision, by: Holder) -> CancelledRun:
    records = [effect for effect in decision.effects if isinstance(effect, Record)]
    limited = run.run.limits is not None
    return CancelledRun(run.run.id, records, ending_of(run, decision, by.now), run.run.correlation_id, limited)


def _agreeing(found: Cancellation, meant: Sequence[Meant]) -> tuple[list[str], str | None]:
    """The runs whose events meet the condition; and what went wrong when it could not be tried on one."""
    if found.expression is None:
        return [one.run_id for one in meant], None
    condition, agreeing, error = compile_expression(found.expression), list[str](), None
    for one in meant:
        try:
            if condition.truth(orjson.loads(one.event)):
                agreeing.append(one.run_id)
        except ExpressionError as failed:
            error = f"run {one.run_id}: {failed.message}"
    return agreeing, error


def _check(wish: Wish, before: datetime, now: datetime) -> None:
    if before > now + _SKEW:
        raise RequestError("started_before must not lie in the future: only runs that exist can be cancelled")
    if wish.started_after is not None and wish.started_after >= before:
        raise RequestError("started_after must be a moment before started_before")
    if wish.expression:
        compile_expression(wish.expression)


def _whose(conn: Connection, wish: Wish) -> tuple[str, str | None]:
    app = functions.app_by_name(conn, wish.app)
    if app is None:
        raise NotFoundError(f"there is no app {wish.app}")
    if wish.function is None:
        return app.id, None
    for slug in (f"{wish.app}-{wish.function}", wish.function):
        found = functions.function(conn, slug)
        if found is not None and found.app_id == app.id:
            return app.id, found.id
    raise NotFoundError(f"the app {wish.app} has no function {wish.function}")
