"""Spans: what a run's trace is made of, and what it is made from.

A span tells what was done, for how long, and for how long it was only waiting to be done.
The root is the run; its children are its steps, in the order in which they came to be, and the calls of the function
itself that failed.  A step that was tried more than once has a child for each try.  `queued_at` is when something was
there to be done, `started_at` when it was begun: the time between is spent in queues.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from orchestrator.core.effect import Status, StepStatus


class SpanKind(StrEnum):
    """What a span tells of."""

    #: The run itself: the root.
    FUNCTION = "FUNCTION"
    #: One try of a step, or a call of the function that failed.
    ATTEMPT = "ATTEMPT"
    #: Code of the function.
    RUN = "RUN"
    SLEEP = "SLEEP"
    WAIT_FOR_EVENT = "WAIT_FOR_EVENT"
    WAIT_FOR_SIGNAL = "WAIT_FOR_SIGNAL"
    INVOKE = "INVOKE"
    #: A request that the server makes.
    GATEWAY = "GATEWAY"
    #: The same, to a model.
    AI_GATEWAY = "AI_GATEWAY"
    #: A Celery task.
    TASK = "TASK"
    #: A function that is started when the run has ended.
    DEFER = "DEFER"


class SpanStatus(StrEnum):
    """Where it is."""

    #: It is to be begun, or tried again.
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    #: It sleeps, or waits for an event, a signal or another run.
    WAITING = "WAITING"
    CANCELLED = "CANCELLED"
    #: The run was never admitted.
    SKIPPED = "SKIPPED"


@dataclass(frozen=True, slots=True)
class SleepInfo:
    """Until when a sleep lasts."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class EventWaitInfo:
    """What event is waited for, and which came."""

    event_name: str
    expression: str | None
    timeout: datetime | None
    found_event_id: str | None
    #: None: it still waits.
    timed_out: bool | None
    #: Others that would do, with their expressions.
    others: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class InvokeInfo:
    """Which function was invoked, by which event, and the run that came of it."""

    function: str
    timeout: datetime | None
    event_id: str | None
    run_id: str | None
    #: None: it still waits.
    timed_out: bool | None


@dataclass(frozen=True, slots=True)
class SignalInfo:
    """Which signal is waited for."""

    signal: str
    timeout: datetime | None
    #: None: it still waits.
    timed_out: bool | None


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """Which Celery task does it."""

    task: str


Info = SleepInfo | EventWaitInfo | InvokeInfo | SignalInfo | TaskInfo


@dataclass(frozen=True, slots=True)
class Span:
    """One span; times that are not known are None."""

    #: Opaque, and the same each time.
    id: str
    parent_id: str | None
    run_id: str
    name: str
    kind: SpanKind
    status: SpanStatus
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    #: The step's hashed id; None: it is about the function as a whole.
    step_id: str | None = None
    #: The SDK's word for what it is (StepRun, Sleep ...).
    op: str | None = None
    #: Which try it tells of, from 0; of a step, the last one.
    attempt: int = 0
    #: How often it was tried so far.
    attempts: int = 0
    children: tuple[Span, ...] = ()
    info: Info | None = None
    #: What `engine.trace.span_output` takes; None: there is neither an output nor an error.
    output_id: str | None = None
    #: Why the run was skipped or cancelled.
    reason: str | None = None
    #: The run that is in the way of a skipped one.
    existing_run_id: str | None = None


@dataclass(frozen=True, slots=True)
class TracedRun:
    """A run as far as its trace shows it."""

    id: str
    name: str
    status: Status
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    #: Whether it has an output or an error.
    result: bool = False


@dataclass(frozen=True, slots=True)
class TracedStep:
    """A step as far as a trace shows it; `input` is what is kept of a wait, an invoke or a task."""

    id: str
    name: str
    op: str
    status: StepStatus
    attempts: int
    seq: int | None
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    wake_at: datetime | None
    #: Its place among those that came to be together.
    position: int | None = None
    input: Mapping[str, Any] = field(default_factory=dict)
    #: The event that an invoke sent, or that a wait was answered by.
    event_id: str | None = None
    #: The run that an invoke came to.
    invoked_run_id: str | None = None
    #: Nothing came for it in time.
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class TracedAttempt:
    """A try that failed, of a step or (None) of the function; `number` is its place in the run's story."""

    number: int
    step_id: str | None
    attempt: int
    started_at: datetime | None
    ended_at: datetime
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class TracedJob:
    """A call that is to be made, or is being made."""

    step_id: str | None
    #: Somebody is at it.
    leased: bool
    run_at: datetime


@dataclass(frozen=True, slots=True)
class Traced:
    """All that a run's trace is made of."""

    run: TracedRun
    steps: Sequence[TracedStep] = ()
    attempts: Sequence[TracedAttempt] = ()
    jobs: Sequence[TracedJob] = ()
    reason: str | None = None
    existing_run_id: str | None = None
    #: There are more steps than these.
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class SpanPlace:
    """What a span is about: a run, one of its steps, or a failed try by its number in the run's story."""

    run_id: str
    step_id: str | None = None
    entry: int | None = None
    #: The try that a step ended with, or that is under way.
    last: bool = False

    def encode(self) -> str:
        """Write it as a span's id."""
        what = "" if self.entry is None else str(self.entry)
        text = f"{self.run_id}.{what or ('last' if self.last else '')}.{self.step_id or ''}"
        return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> SpanPlace | None:
        """Read a span's id; None: it is none."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
            run_id, what, step_id = raw.decode().split(".", 2)
        except (binascii.Error, ValueError):
            return None
        if "\0" in step_id:  # which no database has
            return None
        if what not in ("", "last") and not (what.isascii() and what.isdecimal() and len(what) < 19):
            return None
        entry = int(what) if what.isdecimal() else None
        return cls(run_id, step_id or None, entry, last=what == "last")
