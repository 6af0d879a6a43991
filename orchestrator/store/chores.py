"""Chores: work that comes again and again, and is done by one process at a time, without a leader.

A process takes its turn by moving `next_at` on: who comes second finds it moved.  A process that dies in its turn has
only moved it; the next one goes on from what was noted last.  To do a piece of the work twice must be harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import orjson
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from orchestrator.store.tables import chores

RETENTION = "retention"

_BY_NAME = chores.c.name == bindparam("of_name")
_READ = select(chores).where(_BY_NAME)
_MOVE = update(chores).where(_BY_NAME, chores.c.next_at == bindparam("was"))


@dataclass(frozen=True, slots=True)
class Chore:
    """How far a chore is."""

    name: str
    next_at: datetime
    #: Of the pass under way; None: none is.
    stage: str | None = None
    reached: str | None = None
    freed: Mapping[str, int] = field(default_factory=dict)
    last_freed: Mapping[str, int] = field(default_factory=dict)
    ended_at: datetime | None = None


def read(conn: Connection, name: str) -> Chore | None:
    """The chore; None: nobody has ever done it."""
    row = conn.execute(_READ, {"of_name": name}).first()
    return _chore(row) if row is not None else None


def begin(conn: Connection, name: str, now: datetime) -> None:
    """Make a chore known that is due now; does nothing where it is."""
    from sqlalchemy.exc import IntegrityError

    try:
        with conn.begin_nested():
            conn.execute(insert(chores).values(name=name, next_at=now))
    except IntegrityError:
        return


def take(conn: Connection, chore: Chore, until: datetime) -> bool:
    """Take the turn, which is ours until then; False: somebody else did."""
    values = {"of_name": chore.name, "was": chore.next_at, "until": until}
    return conn.execute(_MOVE.values(next_at=bindparam("until")), values).rowcount == 1


def note(conn: Connection, chore: Chore, held: datetime) -> bool:
    """Write how far the chore got in a turn that was ours until `held`; False: the turn was over, and is another's."""
    values = {
        "next_at": chore.next_at,
        "stage": chore.stage,
        "reached": chore.reached,
        "freed": _text(chore.freed),
        "last_freed": _text(chore.last_freed),
        "ended_at": chore.ended_at,
    }
    return conn.execute(_MOVE.values(values), {"of_name": chore.name, "was": held}).rowcount == 1


def _text(counts: Mapping[str, int]) -> str:
    return orjson.dumps(dict(counts)).decode()


def _counts(text: str | None) -> dict[str, int]:
    return orjson.loads(text) if text else {}


def _chore(row: Row[tuple[object, ...]]) -> Chore:
    return Chore(
        row.name,
        row.next_at,
        row.stage,
        row.reached,
        _counts(row.freed),
        _counts(row.last_freed),
        row.ended_at,
    )
