"""What a run is linked with: the events that it came of and went on by, the runs that it invoked, and its reruns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.core.spans import EventWaitInfo, InvokeInfo, Span
from orchestrator.store import batches, reruns, search
from orchestrator.store.database import Connection
from orchestrator.store.runs import StoredRun
from orchestrator.store.search import RunRow

#: Links of a kind that a page shows.
MOST = 20


@dataclass(frozen=True, slots=True)
class Resumed:
    """An event that a step waited for."""

    event_id: str
    name: str
    step: str


@dataclass(frozen=True, slots=True)
class Links:
    """At most `MOST` of each kind."""

    #: The events of its batch, where it came of several.
    batch: Sequence[str]
    resumed: Sequence[Resumed]
    invoked: Sequence[RunRow]
    #: The run that this one runs again, and the latest ones that run this one again.
    original_id: str | None
    again: Sequence[RunRow]

    @property
    def any(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.batch or self.resumed or self.invoked or self.original_id or self.again)


def links(conn: Connection, run: StoredRun, root: Span) -> Links:
    """What a run is linked with, by its trace and its rows."""
    infos = [(span.name, span.info) for span in root.children]
    resumed = [
        Resumed(info.found_event_id, info.event_name, name)
        for name, info in infos
        if isinstance(info, EventWaitInfo) and info.found_event_id
    ]
    invoked = [info.run_id for _, info in infos if isinstance(info, InvokeInfo) and info.run_id]
    return Links(
        batch=batches.event_ids(conn, run.batch_id)[:MOST] if run.batch_id is not None else (),
        resumed=resumed[:MOST],
        invoked=search.rows(conn, invoked[:MOST]),
        original_id=run.original_run_id,
        again=search.rows(conn, reruns.of(conn, run.id)[:MOST]),
    )
