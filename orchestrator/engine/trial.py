"""Try a condition in CEL on rows: on the events that started a run and its output, or on an event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from orchestrator.errors import ExpressionError
from orchestrator.expressions.search import Search
from orchestrator.expressions.stored import value_of
from orchestrator.store import windows
from orchestrator.store.database import Connection
from orchestrator.store.places import Place
from orchestrator.store.windows import Candidate, Text


class Trial(Protocol):
    """Tries a condition on rows of one kind."""

    @property
    def error(self) -> str | None:
        """Why it could not be tried on one of them."""

    def agree(self, window: Sequence[Place]) -> Iterator[bool]:
        """Whether the condition holds, for each of the rows, in turn; one on which it cannot be tried does not."""


class Runs:
    """Tries a condition on runs."""

    def __init__(self, conn: Connection, condition: Search) -> None:
        self.conn, self.condition = conn, condition
        self.error: str | None = None

    def agree(self, window: Sequence[Place]) -> Iterator[bool]:
        """Whether the condition holds, for each of the window's runs."""
        known = {it.id: it for it in windows.candidates(self.conn, window)}
        wanted = {event_id for it in known.values() for event_id in it.event_ids} if self._reads("event") else set()
        payloads = windows.payloads(self.conn, sorted(wanted))
        for place in window:
            candidate = known.get(place.id)
            yield candidate is not None and self._holds(candidate, payloads)

    def _holds(self, run: Candidate, payloads: dict[str, Text]) -> bool:
        """Whether it holds for one of the run's events."""
        try:
            output = self._output(run) if self._reads("output") else None
            if not self._reads("event"):
                return self.condition.holds(None, output)
            return any(self.condition.holds(_event(self.conn, it, payloads), output) for it in run.event_ids)
        except ExpressionError as error:
            self.error = self.error or f"run {run.id}: {error.message}"
            return False

    def _reads(self, root: str) -> bool:
        return root in self.condition.reads

    def _output(self, run: Candidate) -> Any:
        text = windows.large_output(self.conn, run.id) if run.output.large else run.output.text
        return value_of(text) if text is not None else None


class Events:
    """Tries a condition on events."""

    def __init__(self, conn: Connection, condition: Search) -> None:
        self.conn, self.condition = conn, condition
        self.error: str | None = None

    def agree(self, window: Sequence[Place]) -> Iterator[bool]:
        """Whether the condition holds, for each of the window's events."""
        payloads = windows.payloads(self.conn, [place.id for place in window])
        for place in window:
            yield self._holds(place.id, payloads)

    def _holds(self, event_id: str, payloads: dict[str, Text]) -> bool:
        try:
            event = _event(self.conn, event_id, payloads)
            return event is not None and self.condition.holds(event)
        except ExpressionError as error:
            self.error = self.error or f"event {event_id}: {error.message}"
            return False


def _event(conn: Connection, event_id: str, payloads: dict[str, Text]) -> Any:
    known = payloads.get(event_id)
    if known is None:
        return None
    text = windows.large_payload(conn, event_id) if known.large else known.text
    return value_of(text) if text is not None else None
