"""What runs that were run again were given beyond their events: where they begin, and with what input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from orchestrator.store.changing import InsertMany
from orchestrator.store.tables import reruns, runs

#: Reruns of one run that are told of.
MOST = 100

_INSERT = InsertMany(reruns)
_ONE = select(reruns).where(reruns.c.run_id == bindparam("of_run"))
_OF = (
    select(runs.c.id)
    .where(runs.c.original_run_id == bindparam("of_run"))
    .order_by(runs.c.id.desc())
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class Rerun:
    """A run that runs another one again."""

    run_id: str
    original_run_id: str
    #: It began there: what the original had memoised before was taken over.
    step_id: str | None = None
    #: Of that step, in place of its own: a JSON array.
    input: str | None = None
    #: To run many again.
    order_id: str | None = None


def add(conn: Connection, made: Sequence[Rerun]) -> None:
    """Note what these runs are; a second one of a run by the same order is refused by its key."""
    _INSERT.run(
        conn,
        [
            {
                "run_id": it.run_id,
                "original_run_id": it.original_run_id,
                "step_id": it.step_id,
                "input": it.input,
                "order_id": it.order_id,
            }
            for it in made
        ],
    )


def get(conn: Connection, run_id: str) -> Rerun | None:
    """What a run runs again; None: it does not."""
    row = conn.execute(_ONE, {"of_run": run_id}).first()
    return _rerun(row) if row is not None else None


def inputs(conn: Connection, run_id: str) -> dict[str, str]:
    """What steps of the run get in place of their own input."""
    found = get(conn, run_id)
    return {found.step_id: found.input} if found is not None and found.step_id and found.input is not None else {}


def of(conn: Connection, run_id: str) -> list[str]:
    """The runs that run this one again, the newest first, at most `MOST`."""
    return [row.id for row in conn.execute(_OF, {"of_run": run_id, "most": MOST})]


def _rerun(row: Row[Any]) -> Rerun:
    return Rerun(row.run_id, row.original_run_id, row.step_id, row.input, row.order_id)
