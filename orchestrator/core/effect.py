"""What is to be done after a message; the store writes all effects of one decision in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from orchestrator.core.message import InvokeAsked, SignalAsked, WaitAsked


class Status(StrEnum):
    """Where a run is."""

    #: Admitted, its first call has not begun (or lies in the future).
    QUEUED = "queued"
    #: Its first call has begun; it may well be sleeping or waiting.
    RUNNING = "running"
    #: The function returned.
    COMPLETED = "completed"
    #: The function failed for good.
    FAILED = "failed"
    #: Stopped from outside.
    CANCELLED = "cancelled"
    #: Never admitted; kept to say why.
    SKIPPED = "skipped"

    @property
    def final(self) -> bool:
        """Whether nothing may change any more."""
        return self not in (Status.QUEUED, Status.RUNNING)


class StepStatus(StrEnum):
    """Where a step is."""

    #: A call of its own, or a request that the server makes for it, is due, runs, or will be tried again.
    PLANNED = "planned"
    #: A timer will end it.
    SLEEPING = "sleeping"
    #: A pause will end it.
    WAITING = "waiting"
    #: It failed within a call of the whole function, which will be tried again.
    RETRYING = "retrying"
    #: Its result is memoised.
    COMPLETED = "completed"
    #: Its error is memoised.
    FAILED = "failed"
    #: No step at all: a function that is started when the run has ended.
    DEFERRED = "deferred"
    #: The same, but it is not started after all.
    DROPPED = "dropped"

    @property
    def open(self) -> bool:
        """Whether a job or a pause of its own stands for it."""
        return self in (StepStatus.PLANNED, StepStatus.SLEEPING, StepStatus.WAITING)

    @property
    def done(self) -> bool:
        """Whether its outcome is memoised."""
        return self in (StepStatus.COMPLETED, StepStatus.FAILED)


@dataclass(frozen=True, slots=True)
class SaveStep:
    """Write the step's row.  `memo` is what later calls get in `steps` (JSON text); None while there is no outcome."""

    id: str
    name: str
    op: str
    status: StepStatus
    memo: str | None = None
    error: str | None = None
    attempts: int = 0
    input: str | None = None
    started_at: datetime | None = None
    wake_at: datetime | None = None
    #: The function goes on only when all such steps of the run are done.
    counted: bool = False
    #: The step has no row yet.  Otherwise name, op and input stay as they are.
    fresh: bool = False
    #: What an invoke sent, or what a wait was answered by.
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class AddCall:
    """Let the planned step `step_id` be called, or done by the Celery task that its input names."""

    step_id: str
    task: bool = False


@dataclass(frozen=True, slots=True)
class AddWake:
    """End the sleep `step_id` at `at`."""

    step_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class AddFetch:
    """Let the server make a request for `step_id`; `request` is as in `FetchAsked`."""

    step_id: str
    request: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenPause:
    """Let the run wait for what was asked; an invoke starts the function, too."""

    asked: WaitAsked | InvokeAsked | SignalAsked


@dataclass(frozen=True, slots=True)
class ClosePause:
    """The pause of `step_id` is over: nothing stands for it any more."""

    step_id: str


@dataclass(frozen=True, slots=True)
class Discover:
    """Let the function be called from its top, once; if such a call is under way, once more after it."""


@dataclass(frozen=True, slots=True)
class Finish:
    """End the run.  `output` is the result (JSON text), `error` the error object (JSON text)."""

    status: Status
    output: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Add to the run's history.  `data` is JSON text."""

    kind: str
    step_id: str | None = None
    attempt: int | None = None
    data: str | None = None


Effect = SaveStep | AddCall | AddWake | AddFetch | OpenPause | ClosePause | Discover | Finish | Record


@dataclass(frozen=True, slots=True)
class Continue:
    """The job goes on at once with a call of the function from its top, attempt 0."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The job comes back at `at` with the next attempt number; `error` (JSON text) is why."""

    at: datetime
    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class End:
    """The job is done."""


Then = Continue | Retry | End
