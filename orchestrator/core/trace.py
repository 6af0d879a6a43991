"""A run as a tree of spans, shaped from its row, its steps and its story.

The root is the run; its children are its steps, in the order in which they came to be, and the calls of the function
itself that failed.  A step that was tried more than once has a child for each try.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from orchestrator.core.effect import StepStatus
from orchestrator.core.spans import (
    EventWaitInfo,
    Info,
    InvokeInfo,
    SignalInfo,
    SleepInfo,
    Span,
    SpanKind,
    SpanPlace,
    SpanStatus,
    TaskInfo,
    Traced,
    TracedAttempt,
    TracedStep,
)

_KINDS = {
    "StepRun": SpanKind.RUN,
    "Sleep": SpanKind.SLEEP,
    "WaitForEvent": SpanKind.WAIT_FOR_EVENT,
    "WaitForSignal": SpanKind.WAIT_FOR_SIGNAL,
    "InvokeFunction": SpanKind.INVOKE,
    "Gateway": SpanKind.GATEWAY,
    "AIGateway": SpanKind.AI_GATEWAY,
    "Task": SpanKind.TASK,
    "DeferAdd": SpanKind.DEFER,
}
_STATUSES = {
    StepStatus.PLANNED: SpanStatus.QUEUED,
    StepStatus.SLEEPING: SpanStatus.WAITING,
    StepStatus.WAITING: SpanStatus.WAITING,
    StepStatus.RETRYING: SpanStatus.QUEUED,
    StepStatus.COMPLETED: SpanStatus.COMPLETED,
    StepStatus.FAILED: SpanStatus.FAILED,
    StepStatus.DEFERRED: SpanStatus.QUEUED,
    StepStatus.DROPPED: SpanStatus.CANCELLED,
}


def tree(traced: Traced) -> Span:
    """Shape the trace of a run."""
    return _Tree(traced).root()


class _Tree:
    def __init__(self, traced: Traced) -> None:
        self.traced, self.run = traced, traced.run
        self.root_id = SpanPlace(self.run.id).encode()
        self.by_step = dict[str | None, list[TracedAttempt]]()
        for attempt in traced.attempts:
            self.by_step.setdefault(attempt.step_id, []).append(attempt)
        self.leased = {job.step_id for job in traced.jobs if job.leased}

    def root(self) -> Span:
        run = self.run
        children = sorted([*self._steps(), *self._calls()], key=lambda placed: placed[0])
        return Span(
            id=self.root_id,
            parent_id=None,
            run_id=run.id,
            name=run.name,
            kind=SpanKind.FUNCTION,
            status=SpanStatus(run.status.value.upper()),
            queued_at=run.queued_at,
            started_at=run.started_at,
            ended_at=run.ended_at,
            attempts=len(self.by_step.get(None, ())) + (run.started_at is not None),
            children=tuple(span for _, span in children),
            output_id=self.root_id if run.result else None,
            reason=self.traced.reason,
            existing_run_id=self.traced.existing_run_id,
        )

    def _steps(self) -> Iterator[tuple[_Place, Span]]:
        for step in self.traced.steps:
            span = self._step(step)
            place = (span.queued_at, step.position or 0, step.seq is None, step.seq or 0, step.id)
            yield place, span

    def _step(self, step: TracedStep) -> Span:
        kind, span_id = _KINDS.get(step.op, SpanKind.RUN), SpanPlace(self.run.id, step.id).encode()
        tries = self.by_step.get(step.id, [])
        began = tries[0].started_at or tries[0].ended_at if tries else None
        queued_at = step.queued_at or began or step.started_at or step.ended_at or self.run.queued_at
        status = self._status(step)
        return Span(
            id=span_id,
            parent_id=self.root_id,
            run_id=self.run.id,
            name=step.name,
            kind=kind,
            status=status,
            queued_at=queued_at,
            started_at=began or step.started_at,
            ended_at=step.ended_at or self._stopped(step),
            step_id=step.id,
            op=step.op,
            attempt=max(step.attempts - 1, len(tries) - step.status.done, 0),
            attempts=max(step.attempts, len(tries)),
            children=tuple(self._tries(step, status, queued_at, tries)),
            info=_INFOS[kind](step) if kind in _INFOS else None,
            output_id=span_id if (step.status.done and kind is not SpanKind.SLEEP) or tries else None,
        )

    def _status(self, step: TracedStep) -> SpanStatus:
        if step.id in self.leased and step.status is StepStatus.PLANNED:
            return SpanStatus.RUNNING
        if not step.status.done and self.run.status.final and step.status is not StepStatus.DEFERRED:
            return SpanStatus.CANCELLED
        if step.status is StepStatus.DEFERRED and self.run.status.final:
            return SpanStatus.COMPLETED
        return _STATUSES[step.status]

    def _stopped(self, step: TracedStep) -> datetime | None:
        """What a run leaves open ends with it."""
        return self.run.ended_at if self.run.status.final else None

    def _tries(
        self, step: TracedStep, status: SpanStatus, queued_at: datetime, tries: Sequence[TracedAttempt]
    ) -> Iterator[Span]:
        """A span for each try, where there was more than one, or there will be."""
        for tried in tries:
            yield self._attempt(tried, queued_at, SpanPlace(self.run.id, step.id).encode())
            queued_at = tried.next_at or tried.ended_at
        if not tries:
            return
        number = max(step.attempts - 1, tries[-1].attempt + 1) if step.status.done else tries[-1].attempt + 1
        span_id = SpanPlace(self.run.id, step.id).encode()
        # Of the last try there is no line in the story: the step itself tells.
        yield Span(
            id=SpanPlace(self.run.id, step.id, last=True).encode(),
            parent_id=span_id,
            run_id=self.run.id,
            name=f"Attempt {number}",
            kind=SpanKind.ATTEMPT,
            status=status,
            queued_at=queued_at,
            started_at=step.started_at if step.status.done and _after(step.started_at, tries[-1]) else None,
            ended_at=step.ended_at or self._stopped(step),
            step_id=step.id,
            op=step.op,
            attempt=number,
            attempts=number + 1,
            output_id=span_id if step.status.done else None,
        )

    def _calls(self) -> Iterator[tuple[_Place, Span]]:
        """The calls of the function that failed."""
        queued_at = self.run.queued_at
        for tried in self.by_step.get(None, ()):
            span = self._attempt(tried, min(queued_at, tried.ended_at), self.root_id)
            queued_at = tried.next_at or tried.ended_at
            yield (span.started_at or tried.ended_at, 0, False, 0, span.id), span

    def _attempt(self, tried: TracedAttempt, queued_at: datetime, parent_id: str) -> Span:
        span_id = SpanPlace(self.run.id, tried.step_id, tried.number).encode()
        return Span(
            id=span_id,
            parent_id=parent_id,
            run_id=self.run.id,
            name=f"Attempt {tried.attempt}",
            kind=SpanKind.ATTEMPT,
            status=SpanStatus.FAILED,
            queued_at=queued_at,
            started_at=tried.started_at,
            ended_at=tried.ended_at,
            step_id=tried.step_id,
            attempt=tried.attempt,
            attempts=tried.attempt + 1,
            output_id=span_id,
        )


_Place = tuple[datetime, int, bool, int, str]


def _after(at: datetime | None, tried: TracedAttempt) -> bool:
    """Whether a step's time is about a later try than this one."""
    return at is not None and at >= tried.ended_at


def _waited_in_vain(step: TracedStep) -> bool | None:
    return step.timed_out if step.status.done else None


def _sleep(step: TracedStep) -> Info:
    return SleepInfo(step.wake_at)


def _wait(step: TracedStep) -> Info:
    others = tuple((it["event"], it.get("if")) for it in step.input.get("or", ()))
    name, expression = step.input.get("event", ""), step.input.get("if")
    return EventWaitInfo(name, expression, step.wake_at, step.event_id, _waited_in_vain(step), others)


def _invoke(step: TracedStep) -> Info:
    function = step.input.get("function", "")
    return InvokeInfo(function, step.wake_at, step.event_id, step.invoked_run_id, _waited_in_vain(step))


def _signal(step: TracedStep) -> Info:
    return SignalInfo(step.input.get("signal", ""), step.wake_at, _waited_in_vain(step))


def _task(step: TracedStep) -> Info:
    return TaskInfo(step.input.get("task", ""))


_INFOS = {
    SpanKind.SLEEP: _sleep,
    SpanKind.WAIT_FOR_EVENT: _wait,
    SpanKind.WAIT_FOR_SIGNAL: _signal,
    SpanKind.INVOKE: _invoke,
    SpanKind.TASK: _task,
}
