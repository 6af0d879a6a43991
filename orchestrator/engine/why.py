"""Why a run does not go on: read the facts, and let the core say it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from orchestrator.core.effect import Status
from orchestrator.core.waiting import Facts, Reason, reasons
from orchestrator.store import events, functions, waits
from orchestrator.store.database import Connection
from orchestrator.store.functions import StoredFunction
from orchestrator.store.history import Entry
from orchestrator.store.runs import StoredRun
from orchestrator.store.steps import StoredStep


def why(
    conn: Connection,
    run: StoredRun,
    function: StoredFunction | None,
    steps: Sequence[StoredStep],
    story: Sequence[Entry],
    now: datetime,
) -> list[Reason]:
    """All that a run waits for; empty: it is over, or at work."""
    if run.status.final:
        return []
    event = events.get(conn, run.event_id)
    app = functions.app_by_id(conn, function.app_id) if function is not None else None
    return reasons(
        Facts(
            status=run.status,
            now=now,
            event=event.payload if event is not None else "{}",
            event_at=datetime.fromtimestamp(event.ts / 1000, UTC) if event is not None else None,
            steps=waits.steps_told(steps),
            failures=list(waits.failures(story, now)),
            calls=waits.calls(conn, run),
            event_waits=waits.event_waits(conn, run),
            app_url=app.url if app is not None else "",
            paused_at=function.paused_at if function is not None else None,
            throttled=waits.throttled(conn, run) if run.status is Status.QUEUED else None,
        )
    )
