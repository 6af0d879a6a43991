"""What matching an event, a cron tick or a timer comes to, before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.core.admission import Asked
from orchestrator.core.function import Function, Timeouts
from orchestrator.core.run import Decision
from orchestrator.engine.hit import Hit, InvocationKey
from orchestrator.store.events import StoredEvent
from orchestrator.store.pauses import Pause
from orchestrator.store.runs import Loaded, NewRun
from orchestrator.store.skips import Skipped


@dataclass(frozen=True, slots=True)
class Start:
    """A run to be started, `at` perhaps in the future."""

    run: NewRun
    at: datetime
    slug: str
    external_id: str | None
    #: When its event was received: whoever came first stands first.
    came_at: datetime
    #: What will cancel it.
    cancels: Sequence[Pause] = ()
    timeouts: Timeouts = field(default=Timeouts())
    #: What its function's options ask of it; None: nothing.
    asked: Asked | None = None
    #: There where `asked` is.
    function: Function | None = None
    #: Its first call waits until a throttle lets it go.
    held: bool = False

    @property
    def plain(self) -> bool:
        """Whether nothing but the run and its first call has to be written."""
        bare = self.external_id is None and self.run.correlation_id is None
        return bare and not self.cancels and not self.timeouts and self.asked is None

    @property
    def start_by(self) -> datetime | None:
        """When it must have begun, if there is such a time."""
        return self.at + self.timeouts.start if self.timeouts.start is not None else None

    @property
    def priority(self) -> int:
        """Seconds by which it is ahead of its time."""
        return self.asked.priority if self.asked is not None else 0


@dataclass(slots=True)
class Outcome:
    """What matching one event came to."""

    event: StoredEvent
    starts: list[Start] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    #: The event invokes a function that does not exist.
    refused: InvocationKey | None = None
    #: What admission made of starts that are not in `starts` any more.
    skipped: list[tuple[Start, Skipped]] = field(default_factory=list)
    #: Functions that will start later, and by what: a debounce or a batch.
    deferred: list[tuple[str, str]] = field(default_factory=list)
    #: Runs that had to give way.
    cancelled: list[tuple[Loaded, Decision]] = field(default_factory=list)
    #: Pools with a slot for somebody who waits, as those runs left them.
    freed: set[str] = field(default_factory=set)

    @property
    def plain(self) -> bool:
        """Whether nothing but runs has to be written."""
        rest = self.warnings or self.hits or self.refused
        return not rest and all(start.plain for start in self.starts)

    @property
    def only_resumes(self) -> bool:
        """Whether nothing but answers to pauses has to be written."""
        rest = self.warnings or self.starts or self.refused
        return not rest and all(hit.step_id is not None for hit in self.hits)

    @property
    def functions(self) -> list[str]:
        """The functions that the event was meant for."""
        return [
            *(start.slug for start in self.starts),
            *(slug for slug, _ in self.deferred),
            *(start.slug for start, _ in self.skipped),
        ]
