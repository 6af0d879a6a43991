"""Cancel many runs at once: what `/v1/cancellations` orders, and how some runs end together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.core.effect import Record
from orchestrator.core.message import Cancelled as CancelMessage
from orchestrator.core.run import Decision, Run, advance
from orchestrator.engine.done import Done
from orchestrator.engine.enter import follow_up
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import ending_of, tell
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.expressions.search import compile_search
from orchestrator.ids import new_ulid
from orchestrator.store import apply, functions, runs
from orchestrator.store.apply import Applied, CancelledRun, Holder
from orchestrator.store.database import Connection
from orchestrator.store.orders import Cancelled, Kind, Order
from orchestrator.store.runs import Loaded

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


def ordered(parts: Parts, wish: Wish, actor: str | None = None) -> Order:
    """The order to cancel these runs, to be written.  Raises `RequestError`, `NotFoundError`."""
    now = parts.clock.now()
    before = wish.started_before or now
    _check(wish, before, now)
    with parts.database.read() as conn:
        app_id, function_id = _whose(conn, wish)
    asked = Cancelled(app_id, function_id, before, wish.started_after, wish.expression or None)
    return Order(new_ulid(), Kind.CANCEL, asked.wanted(), now, actor=actor, asked=asked)


def cancel_some(parts: Parts, conn: Connection, order: Order, run_ids: list[str], by: Holder) -> Done:
    """Cancel those of the runs that are not over."""
    reason = f"cancellation {order.id}"
    decided = [(run, _decide(parts, run, reason, by)) for run in runs.lock_live(conn, run_ids)]
    cancelled = [_cancelled(run, made, by) for run, made in decided]
    applied = apply.cancel_all(conn, cancelled, by.now) if decided else Applied(accepted=True)

    def after() -> None:
        follow_up(parts, applied)
        for run, decision in decided:
            tell(run, decision, by, max_attempts=1)

    return Done(len(decided), after=after)


def _decide(parts: Parts, run: Loaded, reason: str, by: Holder) -> Decision:
    return advance(Run(run.run.id, run.run.status), CancelMessage(reason), parts.settings.policy(1), by.now, 0.0)


def _cancelled(run: Loaded, decision: Decision, by: Holder) -> CancelledRun:
    records = [effect for effect in decision.effects if isinstance(effect, Record)]
    limited = run.run.limits is not None
    return CancelledRun(run.run.id, records, ending_of(run, decision, by.now), run.run.correlation_id, limited)


def _check(wish: Wish, before: datetime, now: datetime) -> None:
    if before > now + _SKEW:
        raise RequestError("started_before must not lie in the future: only runs that exist can be cancelled")
    if wish.started_after is not None and wish.started_after >= before:
        raise RequestError("started_after must be a moment before started_before")
    if wish.expression:
        compile_search(wish.expression, outputs=False)


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
