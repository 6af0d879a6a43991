"""Why a run does not go on right now: facts in, sentences for people out.

Each kind of fact has one function that tells of it; a new kind is a new function in `_TELLERS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from orchestrator.core.effect import Status, StepStatus
from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import compile_expression
from orchestrator.expressions.index import equality_terms, value_at

#: The name of the error of an app that could not be called.
UNREACHABLE = "AppUnreachable"
#: The ops of steps whose requests the server makes.
REQUESTS = frozenset({"Gateway", "AIGateway"})
#: A job that nobody has taken for so long tells of a worker that is not there.
UNTAKEN = timedelta(seconds=5)
#: Reasons told in the one sentence.
_TOLD = 3
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Step:
    """A step as far as it matters here."""

    id: str
    name: str
    op: str
    status: StepStatus
    wake_at: datetime | None = None
    error: str | None = None
    #: The Celery task that it is, if it is one.
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt of a step, or (None) of the function; `error` is an error object."""

    step_id: str | None
    attempt: int
    at: datetime
    next_at: datetime | None
    error: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SlotWait:
    """A pool without a slot: its limit's key and value, how full it is, and who fills it."""

    key: str | None
    value: str
    scope: str
    whole_run: bool
    limit: int | None
    used: int
    waiting: int
    run_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the run, or of a step, that is to be made."""

    step_id: str | None
    ready: bool
    run_at: datetime
    slot: SlotWait | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """A place in a throttle's queue: how many runs stand before it, and when the next one is let go."""

    before: int
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Seen:
    """An event that came while it was waited for; `payload` is its wire text."""

    id: str
    received_at: datetime
    payload: str


@dataclass(frozen=True, slots=True)
class EventWait:
    """A step that waits for an event, and the last ones of that name, the newest first."""

    step_id: str
    event: str
    expression: str | None
    until: datetime
    last: Sequence[Seen] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a live run.  `event` is the wire text of the event that started it, `event_at` its own time."""

    status: Status
    now: datetime
    event: str = "{}"
    event_at: datetime | None = None
    steps: Sequence[Step] = ()
    failures: Sequence[Failure] = ()
    calls: Sequence[Call] = ()
    event_waits: Sequence[EventWait] = ()
    app_url: str = ""
    #: Since when its function is paused.
    paused_at: datetime | None = None
    throttled: Throttled | None = None

    def name_of(self, step_id: str | None) -> str:
        """What a sentence calls a step, or the function."""
        names = {step.id: step.name for step in self.steps}
        return f'step "{names.get(step_id, step_id)}"' if step_id is not None else "the function"


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is waited for."""

    kind: str
    sentence: str
    step_id: str | None = None
    until: datetime | None = None
    details: Mapping[str, object] = field(default_factory=dict)


def reasons(facts: Facts) -> list[Reason]:
    """All that the run waits for; empty: it is over, or at work."""
    if facts.status.final:
        return []
    found = [reason for tell in _TELLERS for reason in tell(facts)]
    if facts.status is Status.QUEUED and not found:
        return [Reason("call", "its first call has not begun yet")]
    return found


def debounced(slug: str, until: datetime | None, events: int, *, last: bool) -> Reason:
    """An event that waits for the end of a burst of `events`; the `last` one is what its function starts with."""
    told = f"a debounce of {slug} lets it start at {moment(until)}, unless more events come"
    told += "" if last else ", and then with a later event in its place"
    return Reason("debounce", told, until=until, details={"function": slug, "events": events, "last": last})


def batched(slug: str, until: datetime | None, events: int, size: int) -> Reason:
    """An event in a batch that fills: it has `events` of at most `size`."""
    told = f"a batch of {slug} has {events} of {size} events, and starts at {moment(until)} if it is not full before"
    return Reason("batch", told, until=until, details={"function": slug, "events": events, "size": size})


def sentence(found: Sequence[Reason]) -> str | None:
    """The reasons in one sentence; None: there is none."""
    told = "; ".join(reason.sentence for reason in found[:_TOLD])
    more = len(found) - _TOLD
    return f"{told}; and {more} more" if more > 0 else told or None


def moment(at: datetime | None) -> str:
    """Write a moment as RFC 3339 in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at is not None else "?"


def _dated(facts: Facts) -> Iterator[Reason]:
    if facts.status is Status.QUEUED and facts.event_at is not None and facts.event_at > facts.now:
        told = f"its event is dated {moment(facts.event_at)}, and it starts then"
        yield Reason("event dated", told, until=facts.event_at)


def _paused(facts: Facts) -> Iterator[Reason]:
    if facts.status is Status.QUEUED and facts.paused_at is not None:
        told = f"its function is paused since {moment(facts.paused_at)}, and it begins when that is resumed"
        yield Reason("paused", told, details={"since": moment(facts.paused_at)})


def _throttled(facts: Facts) -> Iterator[Reason]:
    throttled = facts.throttled
    if throttled is None:
        return
    many = f"{throttled.before} runs stand" if throttled.before > 1 else f"{throttled.before or 'no'} run stands"
    told = f"a throttle holds it: {many} before it"
    if throttled.next_at is not None:
        told += f", and the next may begin at {moment(throttled.next_at)}"
    yield Reason("throttle", told, until=throttled.next_at, details={"before": throttled.before})


def _slots(facts: Facts) -> Iterator[Reason]:
    for call in facts.calls:
        if call.slot is not None:
            yield _slot(facts, call, call.slot)


def _slot(facts: Facts, call: Call, slot: SlotWait) -> Reason:
    who = "it" if call.step_id is None else facts.name_of(call.step_id)
    what = "runs" if slot.whole_run else "calls"
    of = "" if slot.scope == "fn" else " of all functions"
    where = f" with {slot.key} = {json.dumps(slot.value)}" if slot.key is not None else ""
    others = slot.waiting - 1
    told = f"{who} waits for a slot: {slot.used} of {slot.limit} {what}{of}{where} are at work"
    told += f" ({_listed(slot.run_ids, slot.used)})" if slot.run_ids else ""
    told += f", and {others} more {'wait' if others > 1 else 'waits'}" if others > 0 else ""
    details: dict[str, object] = {name: getattr(slot, name) for name in ("key", "value", "scope", "limit", "used")}
    details |= {"waiting": slot.waiting, "run_ids": list(slot.run_ids)}
    return Reason("slot", told, call.step_id, details=details)


def _listed(run_ids: Sequence[str], of: int) -> str:
    more = of - len(run_ids)
    return f"run {', '.join(run_ids)}" + (f" and {more} more" if more > 0 else "")


def _retries(facts: Facts) -> Iterator[Reason]:
    """What failed and will be tried again later; of each step, and of the function itself, only the last try counts."""
    last = {failure.step_id: failure for failure in facts.failures}
    live = {step.id for step in facts.steps if not step.status.done}
    for step_id, failure in last.items():
        if failure.next_at is None or failure.next_at <= facts.now or (step_id is not None and step_id not in live):
            continue
        yield _retry(facts, failure, failure.next_at)


def _retry(facts: Facts, failure: Failure, next_at: datetime) -> Reason:
    who, attempt = facts.name_of(failure.step_id), failure.attempt + 1
    told = f"{who} failed (attempt {attempt}) and is tried again at {moment(next_at)}"
    details: dict[str, object] = {"attempt": attempt, "error": failure.error}
    since = _down_since([it for it in facts.failures if it.step_id == failure.step_id])
    if since is None:
        return Reason("retry", told, failure.step_id, next_at, details)
    told += f"; the app could not be reached since {moment(since)}"
    details |= {"since": moment(since), "url": facts.app_url}
    return Reason("app unreachable", told, failure.step_id, next_at, details)


def _down_since(failed: Sequence[Failure]) -> datetime | None:
    """Since when the app has not been reached by one attempt after another; None: the last one reached it."""
    unreached = takewhile(lambda it: it.error.get("name") == UNREACHABLE, reversed(failed))
    return min((it.at for it in unreached), default=None)


def _untaken(facts: Facts) -> Iterator[Reason]:
    for call in facts.calls:
        if call.ready and facts.now - call.run_at >= UNTAKEN:
            whose = "its call" if call.step_id is None else f"the call of {facts.name_of(call.step_id)}"
            told = (
                f"{whose} is ready since {moment(call.run_at)} and no worker has taken it: is one running, or all busy?"
            )
            yield Reason("worker", told, call.step_id, details={"since": moment(call.run_at)})


def _open_steps(facts: Facts) -> Iterator[Reason]:
    waits = {wait.step_id: wait for wait in facts.event_waits}
    parked = {call.step_id for call in facts.calls if call.slot is not None}
    for step in facts.steps:
        if step.status is StepStatus.SLEEPING:
            told = f'step "{step.name}" sleeps until {moment(step.wake_at)}'
            yield Reason("sleep", told, step.id, step.wake_at)
        elif step.status is StepStatus.WAITING and step.id in waits:
            yield _event(facts, step, waits[step.id])
        elif step.status is StepStatus.WAITING:
            yield Reason("answer", f'step "{step.name}" waits to be resumed ({step.op})', step.id, step.wake_at)
        elif step.status is StepStatus.PLANNED and step.op in REQUESTS and step.error is None:
            yield Reason("request", f'step "{step.name}" waits for the answer to a request ({step.op})', step.id)
        elif step.status is StepStatus.PLANNED and step.task and step.error is None and step.id not in parked:
            told = f'step "{step.name}" waits for the Celery task {step.task}'
            yield Reason("task", told, step.id, details={"task": step.task})


def _event(facts: Facts, step: Step, wait: EventWait) -> Reason:
    told = f'step "{step.name}" waits for the event {wait.event} until {moment(wait.until)}'
    missed = [_missed(facts, wait, seen) for seen in wait.last]
    if wait.expression:
        told += f", where {wait.expression}"
    if missed:
        told += f"; the last one, {wait.last[0].id}, did not match: {missed[0]['why']}"
    details = {"event": wait.event, "expression": wait.expression, "last": missed}
    return Reason("event", told, step.id, wait.until, details)


def _missed(facts: Facts, wait: EventWait, seen: Seen) -> dict[str, object]:
    why = _why_not(wait.expression or "", json.loads(facts.event), json.loads(seen.payload))
    return {"id": seen.id, "received_at": moment(seen.received_at), "why": why}


def _why_not(expression: str, event: Any, candidate: Any) -> str:
    """Why an event did not satisfy a condition, by its equalities where it has any."""
    if not expression:
        return "it is on its way"
    try:
        program = compile_expression(expression)
        if program.truth(event, candidate):
            return "it did, and is on its way"
        unmet = [term for term in equality_terms(program, event) if not term.holds(candidate)]
    except ExpressionError as error:
        return error.message[: 2 * _SHOWN]
    said = [
        f"async.{'.'.join(term.path)} is {json.dumps(value_at(candidate, term.path))[:_SHOWN]}, "
        f"not {_spoken(term.value)[:_SHOWN]}"
        for term in unmet
    ]
    return ", ".join(said) or "the condition is false"


def _spoken(key: str) -> str:
    """The value that an index key stands for, as JSON."""
    kind, _, value = key.partition(":")
    if kind == "h":
        return "a long text"
    return json.dumps(value) if kind == "s" else value or kind


_TELLERS: Sequence[Callable[[Facts], Iterator[Reason]]] = (
    _paused,
    _dated,
    _throttled,
    _slots,
    _untaken,
    _retries,
    _open_steps,
)
