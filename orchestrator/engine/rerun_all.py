"""Run many runs again: some of an order, in one transaction."""

from __future__ import annotations

from orchestrator.engine.done import Done
from orchestrator.engine.outcome import Outcome
from orchestrator.engine.parts import Parts
from orchestrator.engine.rerun import Origin, Origins, note, start_again, tell_rerun
from orchestrator.engine.start import after as announce
from orchestrator.engine.start import write
from orchestrator.errors import RequestError
from orchestrator.store.apply import Holder
from orchestrator.store.database import Connection
from orchestrator.store.orders import Order


def rerun_some(parts: Parts, conn: Connection, order: Order, run_ids: list[str], by: Holder) -> Done:
    """Run these runs again; one whose function or events are gone is counted as failed."""
    origins, failed, error = list[Origin](), 0, None
    known = Origins(conn, run_ids)
    for run_id in run_ids:
        try:
            origins.append(known.get(run_id, order.id))
        except RequestError as gone:
            failed, error = failed + 1, gone.message
    starts = [start_again(parts, conn, origin, by) for origin in origins]
    outcomes = [Outcome(origin.event, [start]) for origin, start in zip(origins, starts, strict=True)]
    _, hints = write(conn, outcomes, set(), by) if outcomes else ([], [])
    made = [(origin, start.run.id) for origin, start in zip(origins, starts, strict=True)]
    if made:
        note(conn, made, by)

    def after() -> None:
        announce(parts, outcomes, hints)
        for origin, start in zip(origins, starts, strict=True):
            tell_rerun(origin, start)

    return Done(len(made), failed, error, after)
