"""Runs that were never admitted: kept, with the reason in their story, so that nothing disappears unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import orjson
from sqlalchemy import Connection

from orchestrator.core.effect import Record, Status
from orchestrator.store import history, runs
from orchestrator.store.runs import NewRun


@dataclass(frozen=True, slots=True)
class Skipped:
    """A run that is not admitted, and why; `about` says more, such as the run that is in its way."""

    run: NewRun
    reason: str
    about: Mapping[str, object]


def add(conn: Connection, skipped: Sequence[Skipped], now: datetime) -> None:
    """Write runs that are over before they began."""
    over = [replace(it.run, status=Status.SKIPPED, ended_at=now, singleton=None) for it in skipped]
    runs.add(conn, over)
    for it in skipped:
        data = orjson.dumps({"reason": it.reason, **it.about}).decode()
        history.add(conn, it.run.id, [Record("skipped", data=data)], now)
