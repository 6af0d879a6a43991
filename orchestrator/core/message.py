"""What happened to a run: the answer to a call, or a timer.  Drivers produce these; `core.run` gives them meaning.

JSON values travel as text (`output`, `error`, `input`): they are the users' and are not read here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal


@dataclass(frozen=True, slots=True)
class Op:
    """One thing an app reports or asks for about the step `id` (its hashed id)."""

    id: str
    name: str
    #: The wire's word for the kind of step, kept for people (StepRun, Sleep, ...).
    op: str


@dataclass(frozen=True, slots=True)
class StepDone(Op):
    """The step ran; `output` is its JSON result.  `started_at` is when the app began it, if it said so."""

    output: str
    started_at: datetime | None = None
    input: str | None = None


@dataclass(frozen=True, slots=True)
class StepErrored(Op):
    """The step threw `error` (JSON object); it may be tried again unless `final`."""

    error: str
    final: bool
    retry_after: timedelta | None = None
    started_at: datetime | None = None
    #: The step's own policy, where it has one: tries in all, and the wait after this one, taken as it is.
    max_attempts: int | None = None
    backoff: timedelta | None = None
    input: str | None = None


@dataclass(frozen=True, slots=True)
class StepPlanned(Op):
    """The step exists and wants a call of its own.  `race`: the function goes on after each of its group."""

    race: bool = False
    input: str | None = None
    #: A Celery task does it, the one that `input` names; the function is not called for it.
    task: bool = False


@dataclass(frozen=True, slots=True)
class SleepAsked(Op):
    """The run sleeps until `until`."""

    until: datetime
    race: bool = False


@dataclass(frozen=True, slots=True)
class WaitAsked(Op):
    """The run waits for an event of this name that satisfies `expression`, until `until`."""

    event: str
    until: datetime
    expression: str | None = None
    #: More events to wait for, with their expressions: whichever comes first is the answer.
    others: tuple[tuple[str, str | None], ...] = ()
    #: Events since the run's start count, too.
    look_back: bool = False


@dataclass(frozen=True, slots=True)
class InvokeAsked(Op):
    """The run calls the function `function` with `data` (a JSON object) and waits for its end, until `until`."""

    function: str
    data: str
    until: datetime
    user: str | None = None
    v: str | None = None


@dataclass(frozen=True, slots=True)
class SignalAsked(Op):
    """The run waits for a signal, until `until`.  `replace`: whoever waits for it now does so in vain."""

    signal: str
    until: datetime
    replace: bool = False


@dataclass(frozen=True, slots=True)
class FetchAsked(Op):
    """The server makes an HTTP request for the app; its answer is the step's outcome.

    `request` (JSON text) is read by who makes it and holds the app's secrets, so it is shown nowhere.
    """

    request: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DiscoveryAsked(Op):
    """The app wants to be called again from its top; that is no step."""


@dataclass(frozen=True, slots=True)
class DeferAsked(Op):
    """The function `function` is to be started with `data` (a JSON object) when the run has ended by itself."""

    function: str
    data: str


@dataclass(frozen=True, slots=True)
class DeferDropped(Op):
    """What was deferred under the id `target` is not to be started after all."""

    target: str


@dataclass(frozen=True, slots=True)
class Unserved(Op):
    """An opcode this server does not serve; `reason` says which, for whom."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one call.  `target` is the step it was for (None: the function from its top)."""

    target: str | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Returned(Reply):
    """The function returned `output` (JSON)."""

    output: str
    #: Steps reported along with the end, to be kept for people.
    ops: tuple[Op, ...] = ()


@dataclass(frozen=True, slots=True)
class Threw(Reply):
    """The function, or the way to it, failed with `error` (JSON object)."""

    error: str
    retryable: bool
    retry_after: timedelta | None = None
    #: The function's own wait after this attempt, taken as it is.
    backoff: timedelta | None = None
    #: Steps reported along with the failure, to be kept for the next attempt.
    ops: tuple[Op, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked(Reply):
    """The function got as far as these ops; an empty tuple says: nothing to do on this branch now."""

    ops: tuple[Op, ...]
    #: Steps among these were memoised while the call ran: by checkpoints, or by calls of their own.
    progressed: bool = False


@dataclass(frozen=True, slots=True)
class Checkpointed(Reply):
    """No answer yet: the call still runs, and these steps of it are done or these functions deferred."""

    ops: tuple[StepDone | DeferAsked | DeferDropped, ...]


@dataclass(frozen=True, slots=True)
class Woke:
    """The sleep `step_id` is over."""

    step_id: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The pause `step_id` has its answer: `memo` (JSON text), or `error` (JSON object) where that is a failure."""

    step_id: str
    memo: str = "null"
    error: str | None = None
    #: The event that it is.
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class TimedOut:
    """Nothing came for the pause `step_id` in time; `error` (JSON object) where that is a failure."""

    step_id: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody asked to cancel the run; `reason` says who or what."""

    reason: str


@dataclass(frozen=True, slots=True)
class Expired:
    """The run took longer than its function lets it, which is `after`: to begin (`start`), or to end (`finish`)."""

    limit: Literal["start", "finish"]
    after: timedelta


Message = Returned | Threw | Asked | Checkpointed | Woke | Resumed | TimedOut | Cancelled | Expired
