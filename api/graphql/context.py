"""What one operation works with: the parts of the server, what it has read so far, and how much it may still read."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from orchestrator.api.graphql.limits import CostError
from orchestrator.api.graphql.loaders import Loader
from orchestrator.core.function import Function
from orchestrator.core.scope import Scope
from orchestrator.core.spans import Span
from orchestrator.engine import trace
from orchestrator.engine.parts import Parts
from orchestrator.protocol.events import EventLimits
from orchestrator.store import allowances, batches, event_search, functions, history, pauses, search, steps
from orchestrator.store.database import Connection
from orchestrator.store.event_search import EventRow
from orchestrator.store.functions import StoredFunction
from orchestrator.store.history import Entry
from orchestrator.store.search import RunRow

T = TypeVar("T")

#: Items of all lists of one answer.
MOST_ITEMS = 50_000
#: How long an operation may read.
PATIENCE = 10.0
#: Of one run; a trace shows no more.
_MOST_STEPS = 10_000
#: What the SDKs append to a function's id for the function that is started when it fails.
ON_FAILURE = "-failure"
_AI = "AIGateway"


def _anything(_scope: Scope) -> None:
    """Allow it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may do: `require` raises `ForbiddenError` for the rest."""

    actor: str = "api"
    require: Callable[[Scope], None] = _anything
    #: Of the events that they send.
    limits: EventLimits = field(default_factory=EventLimits)


class Context:
    """One operation."""

    def __init__(self, parts: Parts, caller: Caller, patience: float = PATIENCE) -> None:
        self.parts = parts
        self.caller = caller
        self._until = time.monotonic() + patience
        self._patience = patience
        self._items = 0
        self.apps = self._loader(functions.apps_by_ids, lambda found: self.functions_of_app.expect(found))
        self.functions = self._loader(functions.by_ids, lambda found: self.know_functions(found.values()))
        self.functions_of_app = self._loader(functions.of_apps, _of_all(self.know_functions))
        self.functions_by_slug = self._loader(functions.by_slugs, lambda found: self.know_functions(found.values()))
        self.limits = self._loader(allowances.of_each)
        self.runs = self._loader(_runs, lambda found: self.know_runs(found.values()))
        self.outputs = self._loader(search.outputs)
        self.runs_of_event = self._loader(search.runs_of_events, _of_all(self.know_runs))
        self.events = self._loader(_events, lambda found: self.know_events(found.values()))
        self.events_of_batch = self._loader(batches.event_ids_of, _of_all(lambda ids: self.events.expect(ids)))
        self.traces = self._loader(_traces)
        self.stories = self._loader(_stories)
        self.deferrals = self._loader(steps.deferrals)
        self.asking_models = self._loader(_asking_models)
        self.event_waits = self._loader(pauses.event_waits)
        #: Functions whose declaration was read.
        self.declared = dict[str, Function]()
        #: What whoever asks should know, although it is no error.
        self.warnings = list[str]()

    def items(self, found: Sequence[T]) -> Sequence[T]:
        """Count the items of a list.  Raises `CostError` where the answer becomes too long, or takes too long."""
        self._items += len(found)
        if self._items > MOST_ITEMS:
            raise CostError(f"the answer has more than {MOST_ITEMS} items in its lists, the limit")
        if time.monotonic() > self._until:
            raise CostError(f"the answer takes longer than {self._patience:g} s, the limit")
        return found

    def warn(self, sentence: str | None) -> None:
        """Tell something beside the answer."""
        if sentence is not None:
            self.warnings.append(sentence)

    def know_runs(self, rows: Collection[RunRow]) -> None:
        """Take runs that were read, and know that what belongs to them may be asked for."""
        self.runs.give({row.id: row for row in rows})
        self.outputs.expect(row.id for row in rows if row.status.final)
        self.functions.expect(row.function_id for row in rows)
        self.apps.expect(row.app_id for row in rows if row.app_id is not None)
        self.events.expect(row.event_id for row in rows)
        self.events_of_batch.expect(row.batch_id for row in rows if row.batch_id is not None)
        for loader in (self.deferrals, self.asking_models, self.event_waits):
            loader.expect(row.id for row in rows)

    def know_events(self, rows: Collection[EventRow]) -> None:
        """Take events that were read, and know that their runs may be asked for."""
        self.events.give({row.id: row for row in rows})
        self.runs_of_event.expect(row.id for row in rows)

    def know_functions(self, found: Collection[StoredFunction]) -> None:
        """Take functions that were read, and know that what belongs to them may be asked for."""
        self.functions.give({it.id: it for it in found})
        self.apps.expect(it.app_id for it in found)
        self.limits.expect(it.id for it in found)
        self.functions_by_slug.expect(it.slug + ON_FAILURE for it in found)

    def _loader(
        self,
        read: Callable[[Connection, Sequence[str]], Mapping[str, T]],
        told: Callable[[Mapping[str, T]], None] | None = None,
    ) -> Loader[T]:
        return Loader(self.parts.database, read, told)


def _of_all(know: Callable[[Collection[T]], None]) -> Callable[[Mapping[str, Sequence[T]]], None]:
    """Know all that was read as lists."""
    return lambda found: know([it for some in found.values() for it in some])


def _runs(conn: Connection, ids: Sequence[str]) -> Mapping[str, RunRow]:
    return {row.id: row for row in search.rows(conn, ids)}


def _events(conn: Connection, ids: Sequence[str]) -> Mapping[str, EventRow]:
    return {row.id: row for row in event_search.rows(conn, ids)}


def _traces(conn: Connection, ids: Sequence[str]) -> Mapping[str, Span]:
    found = {run_id: trace.trace(conn, run_id, _MOST_STEPS) for run_id in ids}
    return {run_id: it.root for run_id, it in found.items() if it is not None}


def _stories(conn: Connection, ids: Sequence[str]) -> Mapping[str, Sequence[Entry]]:
    return {run_id: history.of_run(conn, run_id) for run_id in ids}


def _asking_models(conn: Connection, ids: Sequence[str]) -> Mapping[str, bool]:
    return steps.with_op(conn, ids, _AI)
