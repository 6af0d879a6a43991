"""Enter: a limited call takes its slots before it begins, and lets those who wait go first after its turn."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from orchestrator import log
from orchestrator.core import concurrency
from orchestrator.core.concurrency import Needs
from orchestrator.core.function import Function
from orchestrator.engine.parts import Parts
from orchestrator.queue.admit import admit
from orchestrator.store import jobs, slots
from orchestrator.store.apply import Applied
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.jobs import Lease
from orchestrator.store.runs import Loaded, NewRun
from orchestrator.store.slots import Entered, Entry

_log = log.get(__name__)

#: How long a run goes on with the slots it has before it looks whether others wait for them.
TURN = timedelta(milliseconds=500)
#: How often pools are made that are gone: the sweep may have deleted them a moment ago.
_TRIES = 5


def with_limits(run: NewRun, function: Function, event: Any) -> tuple[NewRun, list[str]]:
    """The run with the slots its calls will need, and warnings of keys without a value for its event (decoded)."""
    if not function.concurrency:
        return run, []
    wanted, warnings = concurrency.needs(run.function_id, function.concurrency, event)
    told = [f'"{function.slug}": {warning}' for warning in warnings]
    return (replace(run, limits=wanted.text()) if wanted is not None else run), told


def enter(parts: Parts, lease: Lease, loaded: Loaded, *, begins: bool = False) -> Lease | None:
    """Take the slots the job needs; the lease to go on with, or None: it waits for a slot, or the lease is lost.

    The run `begins` once it has them.
    """
    limits = loaded.run.limits
    if limits is None or lease.admitted:
        return lease
    entered = _enter(parts, lease, loaded.run.function_id, Needs.read(limits), begins)
    match entered.entry:
        case Entry.ADMITTED:
            return replace(lease, admitted=True)
        case Entry.PARKED:
            _log.debug("call parked", run_id=loaded.run.id, function=loaded.slug, pool=entered.waits_at)
            admit(parts.database, parts.announcer, entered.to_admit, parts.clock.now())
        case _:
            _log.warning("lease lost", run_id=loaded.run.id, function=loaded.slug, job_id=lease.job_id)
    return None


@undisturbed
def _enter(parts: Parts, lease: Lease, function_id: str, wanted: Needs, begins: bool) -> Entered:
    hot = parts.database.hot
    entered = Entered(Entry.UNKNOWN)
    for _ in range(_TRIES):
        now = parts.clock.now()
        rank = concurrency.rank(now, lease.priority)
        if hot is not None:
            entered = hot.slots.enter(lease, function_id, wanted, now, rank, begins=begins)
        else:
            with parts.database.write() as conn:
                entered = slots.enter(conn, lease, function_id, wanted, now, rank, begins=begins)
        if entered.entry is not Entry.UNKNOWN:
            break
        if hot is None:
            with parts.database.write() as conn:
                slots.ensure(conn, function_id, wanted.pools)
    return entered


def others_wait(parts: Parts, limits: str) -> bool:
    """Whether anybody waits for one of the slots that a run goes on with."""
    with parts.database.read() as conn:
        return slots.anyone_waits(conn, Needs.read(limits))


@undisturbed
def give_way(parts: Parts, lease: Lease, limits: str) -> None:
    """Let those go first who wait for a slot; the run goes on after them."""
    now = parts.clock.now()
    with parts.database.write() as conn:
        to_admit = slots.give_way(conn, lease, Needs.read(limits), concurrency.rank(now, lease.priority))
    admit(parts.database, parts.announcer, to_admit, now)


@undisturbed
def let_go(parts: Parts, lease: Lease) -> None:
    """Give back the slots of a call whose lease was lost, if it kept some because its run was over."""
    if not lease.admitted:
        return
    with parts.database.write() as conn:
        freed = slots.let_go(conn, lease)
    admit(parts.database, parts.announcer, freed, parts.clock.now())


@undisturbed
def end(parts: Parts, lease: Lease) -> None:
    """End a job that there is nothing to do for any more, with the slots it has."""
    with parts.database.write() as conn:
        ended = jobs.end(conn, lease)
        freed = slots.leave(conn, lease.run_id or "", lease.job_id) if ended and lease.admitted else set()
    admit(parts.database, parts.announcer, freed, parts.clock.now())
    if not ended:
        let_go(parts, lease)


def follow_up(parts: Parts, applied: Applied) -> None:
    """After the commit: announce what was made ready, and admit who waited for what was freed."""
    parts.announcer.announce(applied.hints)
    if applied.freed:
        admit(parts.database, parts.announcer, applied.freed, parts.clock.now())
