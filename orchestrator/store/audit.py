"""What operators changed, and when: rows that are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection, insert, select

from orchestrator.store.tables import audit


def record(
    conn: Connection,
    action: str,
    subject: str,
    now: datetime,
    *,
    actor: str | None = None,
    data: Mapping[str, object] | None = None,
) -> None:
    """Note that somebody did something to something."""
    text = orjson.dumps(data).decode() if data else None
    conn.execute(insert(audit).values(at=now, action=action, subject=subject[:512], actor=actor, data=text))


def actions_on(conn: Connection, subject: str, most: int = 100) -> list[tuple[str, datetime]]:
    """What was done to something, the latest first."""
    query = select(audit.c.action, audit.c.at).where(audit.c.subject == subject).order_by(audit.c.id.desc()).limit(most)
    return [(row.action, row.at) for row in conn.execute(query)]


@dataclass(frozen=True, slots=True)
class Action:
    """Something that somebody did; `data` is JSON text."""

    at: datetime
    action: str
    subject: str
    actor: str | None
    data: str | None


def latest(conn: Connection, most: int) -> list[Action]:
    """What was done last, the latest first."""
    rows = conn.execute(select(audit).order_by(audit.c.id.desc()).limit(most))
    return [Action(row.at, row.action, row.subject, row.actor, row.data) for row in rows]
