"""Do something to many runs: an order, and the job that carries it out batch by batch.

Each batch is one transaction that also notes how far the order got, so that whoever takes the job over goes on there:
nothing is done twice, whoever dies.  An order is about the runs that existed when it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator import log
from orchestrator.engine.branch import Branch
from orchestrator.engine.call import hand_on
from orchestrator.engine.cancel_all import cancel_some
from orchestrator.engine.done import Done
from orchestrator.engine.parts import Parts
from orchestrator.engine.rerun_all import rerun_some
from orchestrator.engine.search import Budget, count_runs, search_runs
from orchestrator.errors import ConflictError, ExpressionError, NotFoundError, RequestError
from orchestrator.expressions.search import compile_search
from orchestrator.ids import new_ulid
from orchestrator.store import audit, jobs, orders
from orchestrator.store.apply import Holder
from orchestrator.store.database import Connection
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.filters import Count, Page, RunFilter, RunOrder, TimeField
from orchestrator.store.jobs import Hint, Lease
from orchestrator.store.orders import LIVE, Kind, Order
from orchestrator.store.search import RunRow

_log = log.get(__name__)

#: Runs of one transaction.
BATCH = 200
#: Runs a second, where an order has a bound.
MOST_RATE = 10_000
#: Counting goes no further.
MOST_COUNTED = 1_000_000
#: What a batch of a search by a condition may cost.
_BUDGET = Budget(rows=10_000, seconds=1.0)
#: Counting by a condition takes no longer.
_MOST_SECONDS = 3.0
#: In this order runs are gone through.
_OLDEST_FIRST = RunOrder(TimeField.QUEUED, descending=False)

_DO: Mapping[Kind, Callable[[Parts, Connection, Order, list[str], Holder], Done]] = {
    Kind.CANCEL: cancel_some,
    Kind.RERUN: rerun_some,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done to which runs; so many a second at most."""

    kind: Kind
    wanted: RunFilter
    rate: int | None = None


def count(parts: Parts, wish: Wish, within: float = _MOST_SECONDS) -> Count:
    """How many runs an order would be about if it were given now; by a condition, those found `within` seconds.

    Raises `RequestError`.
    """
    wanted = checked(wish, parts.clock.now())
    with parts.database.read() as conn:
        if wanted.query is None:
            return count_runs(conn, wanted, MOST_COUNTED)
        budget = replace(_BUDGET, seconds=min(_BUDGET.seconds, within), most_seconds=min(_BUDGET.most_seconds, within))
        number, place, until = 0, None, _BUDGET.monotonic() + within
        while True:
            page = search_runs(conn, wanted, _OLDEST_FIRST, place, BATCH, budget)
            number, place = number + len(page.items), page.end_cursor
            if not page.has_next or _BUDGET.monotonic() >= until:
                return Count(number, exact=not page.has_next)


def give(parts: Parts, wish: Wish, actor: str | None = None) -> Order:
    """Write an order; workers carry it out.  Raises `RequestError`."""
    now = parts.clock.now()
    wanted = checked(wish, now)
    meant = count(parts, replace(wish, wanted=wanted))
    total = meant.number if meant.exact else None
    return write(parts, Order(new_ulid(), wish.kind, wanted, now, total, wish.rate, actor))


@undisturbed
def write(parts: Parts, order: Order) -> Order:
    """Write an order that has been checked."""
    with parts.database.write() as conn:
        hint = orders.add(conn, order)
        about = {"runs": order.total, "rate": order.rate}
        audit.record(conn, f"bulk {order.kind.value}", order.id, order.created_at, actor=order.actor, data=about)
    parts.announcer.announce([hint])
    _log.info("order given", order=order.id, kind=order.kind.value, runs=order.total, rate=order.rate)
    return order


@undisturbed
def stop(parts: Parts, order_id: str, actor: str | None = None) -> Order:
    """Let an order do nothing more; what it has done stays.  Raises `NotFoundError`, `ConflictError` if it is over."""
    now = parts.clock.now()
    with parts.database.write() as conn:
        stopped = orders.stop(conn, order_id, now)
        found = orders.get(conn, order_id)
        if stopped:
            audit.record(conn, "bulk stopped", order_id, now, actor=actor)
    if found is None:
        raise NotFoundError(f"there is no order {order_id}")
    if not stopped:
        raise ConflictError(f"the order {order_id} is over: it has nothing more to do")
    _log.info("order stopped", order=order_id, kind=found.kind.value, done=found.done, failed=found.failed)
    return found


@undisturbed
def forget(parts: Parts, order_id: str, actor: str | None = None) -> None:
    """Let an order do nothing more, and take it off the list; what it has done stays.  Raises `NotFoundError`."""
    with parts.database.write() as conn:
        if not orders.remove(conn, order_id):
            raise NotFoundError(f"there is no cancellation {order_id}")
        audit.record(conn, "cancellation deleted", order_id, parts.clock.now(), actor=actor)


def carry_out(parts: Parts, lease: Lease, _branch: Branch | None = None) -> None:
    """Carry on with the order of a leased job until it is done, or has had its turn."""
    began = parts.clock.now()
    with parts.holdings.holding(lease):
        while (pause := _batch(parts, lease)) is not None:
            if pause:
                _rest(parts, lease, parts.clock.now() + pause)
                return
            if parts.clock.now() - began >= parts.settings.continue_span:
                hand_on(parts, lease)
                return


def checked(wish: Wish, now: datetime) -> RunFilter:
    """The runs that are meant.  Raises `RequestError`."""
    wanted = wish.wanted
    if wish.rate is not None and not 1 <= wish.rate <= MOST_RATE:
        raise RequestError(f"rate must be a whole number from 1 to {MOST_RATE}")
    if wanted.query:
        compile_search(wanted.query)
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise RequestError("since must be a moment before until")
    if wish.kind is Kind.CANCEL and not set(wanted.statuses) <= set(LIVE):
        raise RequestError("status must be queued or running: runs that have ended cannot be cancelled")
    if wish.kind is Kind.RERUN and not wanted.statuses:
        raise RequestError("status is missing: say which runs are to be run again, such as failed")
    if wish.kind is Kind.CANCEL and not wanted.statuses:
        wanted = replace(wanted, statuses=LIVE)
    if wanted.time_field is not TimeField.STARTED and (wanted.until is None or wanted.until > now):
        wanted = replace(wanted, until=now)
    return wanted


@undisturbed
def _batch(parts: Parts, lease: Lease) -> timedelta | None:
    """Do some; how long to wait before the next ones, or None: there are no more, or somebody else carries on."""
    with parts.database.read() as conn:
        order = orders.get(conn, lease.payload or "")
        page, error = _page(conn, order) if order is not None else (None, None)
    if order is None or page is None or order.ended_at is not None:
        _end(parts, lease, order, error)
        return None
    ids = [row.id for row in page.items if row.queued_at <= order.created_at]
    by = parts.holder()
    with parts.database.write() as conn:
        if not jobs.reset(conn, lease):
            return None
        done = _DO[order.kind](parts, conn, order, ids, by) if ids else Done()
        why = done.error or page.error or order.error
        reached = page.end_cursor or order.cursor  # a page with nothing on it says nothing of how far that is
        orders.progress(conn, order.id, reached, done.done, done.failed, why)
    done.after()
    if not page.has_next:
        with parts.database.read() as conn:
            order = orders.get(conn, order.id)
        _end(parts, lease, order)
        return None
    return timedelta(seconds=len(ids) / order.rate) if order.rate is not None else timedelta()


def _page(conn: Connection, order: Order) -> tuple[Page[RunRow] | None, str | None]:
    """The next runs; or why there are none to be had."""
    most = BATCH if order.rate is None else min(BATCH, order.rate)
    try:
        return search_runs(conn, order.wanted, _OLDEST_FIRST, order.cursor, most, _BUDGET), None
    except ExpressionError as error:  # accepted by code that knew other conditions
        return None, error.message


@undisturbed
def _end(parts: Parts, lease: Lease, order: Order | None, error: str | None = None) -> None:
    now = parts.clock.now()
    with parts.database.write() as conn:
        ended = jobs.end(conn, lease)
        if ended and order is not None:
            if error is not None:
                orders.progress(conn, order.id, order.cursor, 0, 0, error)
            orders.end(conn, order.id, now)
    if ended and order is not None:
        _log.info("order carried out", order=order.id, kind=order.kind.value, done=order.done, failed=order.failed)


@undisturbed
def _rest(parts: Parts, lease: Lease, until: datetime) -> None:
    """Give the job back for a while, so that an order keeps to its rate."""
    with parts.database.write() as conn:
        rests = jobs.rest(conn, lease, until)
    if rests:
        parts.announcer.announce([Hint(lease.job_id, lease.kind, until)])
