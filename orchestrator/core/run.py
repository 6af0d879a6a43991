"""The run machine: `advance(run, message) -> Decision`.

Theory of operation.  A run goes on by calls "from the top" (discoveries), of which it has at most one at a time, and by
calls of single planned steps, of which it may have many.  A discovery either runs one new step on the spot, or says
which steps there are now: planned ones, sleeps, waits.  Each of those is *open* until its outcome is memoised.
`pending` counts the open planned steps of groups that wait for all of their members; when it comes to nothing, the
function is discovered again.  Sleeps and waits, and steps of a race, lead to a discovery by themselves.

Guards, each of which a test removes on purpose: a final run changes no more; a done step changes no more; what is
already open is not opened twice; a run with nothing outstanding never just stops.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from orchestrator.core import retry
from orchestrator.core.durations import format_duration
from orchestrator.core.effect import (
    AddCall,
    AddFetch,
    AddWake,
    ClosePause,
    Continue,
    Discover,
    Effect,
    End,
    Finish,
    OpenPause,
    Record,
    Retry,
    SaveStep,
    Status,
    StepStatus,
    Then,
)
from orchestrator.core.kept import kept
from orchestrator.core.message import (
    Asked,
    Cancelled,
    Checkpointed,
    DeferAsked,
    DeferDropped,
    DiscoveryAsked,
    Expired,
    FetchAsked,
    InvokeAsked,
    Message,
    Op,
    Resumed,
    Returned,
    SignalAsked,
    SleepAsked,
    StepDone,
    StepErrored,
    StepPlanned,
    Threw,
    TimedOut,
    Unserved,
    WaitAsked,
    Woke,
)


@dataclass(frozen=True, slots=True)
class StepState:
    """What deciding needs to know of a step."""

    status: StepStatus
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers that bound a run."""

    max_attempts: int = 5
    max_steps: int = 10_000
    #: Replaces the back-off table by a constant wait.
    retry_interval: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What deciding needs to know of a run; outputs stay in the store."""

    id: str
    status: Status = Status.RUNNING
    pending: int = 0
    open: int = 0
    step_count: int = 0
    #: The number of the outcome memoised last.
    last_seq: int = 0
    steps: Mapping[str, StepState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The run after the message, what to write, and what becomes of the job that brought it.

    `run.steps` is left as it was, so that a decision costs the same at step 5 000 as at step 5; `steps` has changes.
    """

    run: Run
    effects: tuple[Effect, ...]
    then: Then
    steps: Mapping[str, StepState] = field(default_factory=dict)


def advance(run: Run, message: Message, policy: Policy, now: datetime, chance: float) -> Decision:
    """Apply one message; `chance` is a random number in [0, 1) for the jitter of retries.

    A message that a final run gets, or gets twice, changes nothing.
    """
    if run.status.final:
        return Decision(run, (), End())
    turn = _Turn(run, policy, now, chance)
    match message:
        case Returned():
            return turn.returned(message)
        case Threw():
            return turn.threw(message)
        case Asked():
            return turn.asked(message)
        case Checkpointed():
            return turn.checkpointed(message)
        case Woke():
            return turn.woke(message)
        case Resumed():
            return turn.resumed(message.step_id, message.memo, message.error, message.event_id)
        case TimedOut():
            return turn.resumed(message.step_id, "null", message.error)
        case Cancelled():
            return turn.cancelled(message.reason)
        case Expired():
            return turn.expired(message)


def has_deferred(run: Run) -> bool:
    """Whether functions are to be started at the run's end, by the steps that are known here."""
    return any(state.status is StepStatus.DEFERRED for state in run.steps.values())


class _Turn:
    """One decision in the making."""

    def __init__(self, run: Run, policy: Policy, now: datetime, chance: float) -> None:
        self.run, self.policy, self.now, self.chance = run, policy, now, chance
        self.effects: list[Effect] = []
        self.steps = dict[str, StepState]()
        self.retry: Retry | None = None
        self.opened = self.closed = False

    # What each message means.

    def returned(self, message: Returned) -> Decision:
        self._keep(message.ops, message.attempt)
        return self.finish(Status.COMPLETED, output=message.output)

    def threw(self, message: Threw) -> Decision:
        if message.target is not None and self._status(message.target) is not StepStatus.PLANNED:
            return self._decide(End())
        self._keep(message.ops, message.attempt)
        if message.retryable and self._has_attempts(message.attempt):
            after = message.retry_after
            return self._decide(self._retry(message.attempt, message.error, after, message.backoff, message.target))
        return self.finish(Status.FAILED, error=message.error)

    def asked(self, message: Asked) -> Decision:
        for op in message.ops:
            if isinstance(op, Unserved):
                return self.finish(Status.FAILED, error=_error("UnknownOpcode", op.reason))
            self._op(op, message)
        if self.run.step_count > self.policy.max_steps:
            return self._overflowed()
        if message.target is None:
            return self._after_discovery(message)
        return self._after_step(message.target)

    def checkpointed(self, message: Checkpointed) -> Decision:
        self._keep(message.ops, message.attempt)
        if self.run.step_count > self.policy.max_steps:
            return self._overflowed()
        return self._decide(Continue())

    def woke(self, message: Woke) -> Decision:
        if self._status(message.step_id) is not StepStatus.SLEEPING:
            return self._decide(End())
        self._close(SaveStep(message.step_id, "", "", StepStatus.COMPLETED, memo="null"))
        if self.run.pending == 0:
            self.effects.append(Discover())
        return self._decide(End())

    def resumed(self, step_id: str, memo: str, error: str | None, event_id: str | None = None) -> Decision:
        if self._status(step_id) is not StepStatus.WAITING:
            return self._decide(End())
        if error is not None:
            memo = f'{{"error":{error}}}'
        status = StepStatus.COMPLETED if error is None else StepStatus.FAILED
        self._close(SaveStep(step_id, "", "", status, memo=memo, error=error, event_id=event_id))
        self.effects.append(ClosePause(step_id))
        if self.run.pending == 0:
            self.effects.append(Discover())
        return self._decide(End())

    def cancelled(self, reason: str) -> Decision:
        self.effects.append(Record("cancelled", data=json.dumps({"reason": reason})))
        return self.finish(Status.CANCELLED)

    def expired(self, message: Expired) -> Decision:
        if message.limit == "start" and self.run.status is not Status.QUEUED:
            return self._decide(End())
        what = {"start": "started", "finish": "finished"}[message.limit]
        return self.cancelled(f"not {what} within {format_duration(message.after)} (timeouts.{message.limit})")

    def finish(self, status: Status, output: str | None = None, error: str | None = None) -> Decision:
        self.effects.append(Finish(status, output, error))
        self.run = replace(self.run, status=status)
        return self._decide(End())

    # One op of an answer.

    def _op(self, op: Op, message: Asked) -> None:
        match op:
            case StepDone():
                self._step_done(op, message.attempt)
            case StepErrored():
                self._step_errored(op, message)
            case StepPlanned() if self._is_new(op):
                counted = not op.race
                self._open(SaveStep(op.id, op.name, op.op, StepStatus.PLANNED, input=op.input, counted=counted))
                self.effects.append(AddCall(op.id, op.task))
            case SleepAsked() if self._is_new(op):
                self._open(SaveStep(op.id, op.name, op.op, StepStatus.SLEEPING, started_at=self.now, wake_at=op.until))
                self.effects.append(AddWake(op.id, op.until))
            case FetchAsked() if self._is_new(op):
                self._open(SaveStep(op.id, op.name, op.op, StepStatus.PLANNED, started_at=self.now))
                self.effects.append(AddFetch(op.id, op.request))
            case WaitAsked() | InvokeAsked() | SignalAsked() if self._is_new(op):
                step = SaveStep(op.id, op.name, op.op, StepStatus.WAITING, started_at=self.now, wake_at=op.until)
                self._open(replace(step, input=kept(op)))
                self.effects.append(OpenPause(op))
            case DeferAsked() | DeferDropped():
                self._keep([op], message.attempt)
            case _:
                pass  # Asked for before: what stands for it is under way.

    def _keep(self, ops: Iterable[Op], attempt: int) -> None:
        """Take what has happened already; whatever else came with it is asked for again by the next call."""
        for op in ops:
            match op:
                case StepDone():
                    self._step_done(op, attempt)
                case DeferAsked() if self._status(op.id) is None:
                    asked = f'{{"function":{json.dumps(op.function)},"data":{op.data}}}'
                    self._save(SaveStep(op.id, op.name, op.op, StepStatus.DEFERRED, input=asked, started_at=self.now))
                case DeferDropped() if self._status(op.target) is StepStatus.DEFERRED:
                    self._save(SaveStep(op.target, op.name, op.op, StepStatus.DROPPED))
                case _:
                    pass

    def _step_done(self, op: StepDone, attempt: int) -> None:
        if self._takes_outcome(op.id):
            step = SaveStep(op.id, op.name, op.op, StepStatus.COMPLETED, memo=f'{{"data":{op.output}}}')
            self._close(replace(step, attempts=attempt + 1, input=op.input, started_at=op.started_at))

    def _step_errored(self, op: StepErrored, message: Asked) -> None:
        if not self._takes_outcome(op.id):
            return
        planned = self._status(op.id) is StepStatus.PLANNED
        step = SaveStep(op.id, op.name, op.op, StepStatus.FAILED, error=op.error, attempts=message.attempt + 1)
        step = replace(step, input=op.input, started_at=op.started_at)
        if op.final or not self._has_attempts(message.attempt, op.max_attempts):
            self._close(replace(step, memo=f'{{"error":{op.error}}}'))
            return
        status = StepStatus.PLANNED if planned else StepStatus.RETRYING
        self._save(replace(step, status=status, counted=self._is_counted(op.id)))
        self.retry = self._retry(message.attempt, op.error, op.retry_after, op.backoff, op.id, op.started_at)

    # What becomes of the job.

    def _after_discovery(self, message: Asked) -> Decision:
        if self.retry is not None:
            return self._decide(self.retry)
        if self.opened or (self.run.open and not self.closed):
            return self._decide(End())
        if self.closed or message.progressed:
            return self._decide(Continue())  # Also when what was asked for came while the app was asking.
        nothing = _error(
            "NothingToDo", "the app answered without a result and without a step, and nothing is outstanding"
        )
        if any(isinstance(op, DiscoveryAsked) for op in message.ops) and self._has_attempts(message.attempt):
            return self._decide(Retry(self.now, message.attempt + 1, nothing))  # Who only ever asks comes to an end.
        return self.threw(Threw(None, message.attempt, nothing, retryable=True))

    def _after_step(self, target: str) -> Decision:
        if self.retry is not None:
            return self._decide(self.retry)
        if self._status(target) is StepStatus.PLANNED:
            lost = _error("StepNotFound", "the app was asked for this step and answered with other ones")
            return self.finish(Status.FAILED, error=lost)
        if self.closed and (self.run.pending == 0 or not self._is_counted(target)):
            self.effects.append(Discover())
        return self._decide(End())

    def _retry(
        self,
        attempt: int,
        error: str,
        after: timedelta | None,
        backoff: timedelta | None,
        step_id: str | None,
        began: datetime | None = None,
    ) -> Retry:
        constant = backoff if backoff is not None else self.policy.retry_interval
        at = self.now + retry.delay(attempt, self.chance, after, constant)
        since = f',"started_at":{json.dumps(began.isoformat())}' if began is not None else ""
        detail = f'{{"error":{error},"next_at":{json.dumps(at.isoformat())}{since}}}'
        self.effects.append(Record("attempt failed", step_id, attempt, detail))
        return Retry(at, attempt + 1, error)

    # Bookkeeping.

    def _state(self, step_id: str) -> StepState | None:
        return self.steps.get(step_id) or self.run.steps.get(step_id)

    def _status(self, step_id: str) -> StepStatus | None:
        state = self._state(step_id)
        return state.status if state else None

    def _is_counted(self, step_id: str) -> bool:
        state = self._state(step_id)
        return state is not None and state.counted

    def _has_attempts(self, attempt: int, most: int | None = None) -> bool:
        return attempt + 1 < (most or self.policy.max_attempts)

    def _is_new(self, op: Op) -> bool:
        return self._status(op.id) in (None, StepStatus.RETRYING)

    def _takes_outcome(self, step_id: str) -> bool:
        return self._status(step_id) in (None, StepStatus.RETRYING, StepStatus.PLANNED)

    def _open(self, step: SaveStep) -> None:
        self._save(step)
        self.opened = True
        self.run = replace(self.run, open=self.run.open + 1, pending=self.run.pending + step.counted)

    def _close(self, step: SaveStep) -> None:
        before = self._state(step.id)
        if before is not None and before.status.open:
            counted = before.counted
            self.run = replace(self.run, open=self.run.open - 1, pending=self.run.pending - counted)
            step = replace(step, counted=counted)
        self._save(step)
        self.closed = True

    def _save(self, step: SaveStep) -> None:
        if self._status(step.id) is None:
            step = replace(step, fresh=True)
            self.run = replace(self.run, step_count=self.run.step_count + 1)
        if step.memo is not None:
            self.run = replace(self.run, last_seq=self.run.last_seq + 1)
        self.steps[step.id] = StepState(step.status, step.counted)
        self.effects.append(step)

    def _overflowed(self) -> Decision:
        sentence = f"the run has more than {self.policy.max_steps} steps"
        return self.finish(Status.FAILED, error=_error("InngestErrFunctionOverflowed", sentence))

    def _decide(self, then: Then) -> Decision:
        return Decision(self.run, tuple(self.effects), then, self.steps)


def _error(name: str, message: str) -> str:
    return json.dumps({"name": name, "message": message})
