"""What functions ask for that takes time, as messages: sleeps, waits, invokes, signals; with their bounds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from orchestrator.core.durations import MAX_WAIT, format_duration, parse_moment
from orchestrator.core.message import InvokeAsked, SignalAsked, SleepAsked, StepPlanned, WaitAsked
from orchestrator.errors import ExpressionError, RequestError
from orchestrator.expressions.cel import compile_expression
from orchestrator.sdk.errors import InvalidExpression, NonRetriable
from orchestrator.sdk.execution import INVOKE, SIGNAL, SLEEP, TASK, WAIT, Found
from orchestrator.sdk.function import DurableFunction
from orchestrator.sdk.options import Retry
from orchestrator.sdk.tasks import describe
from orchestrator.sdk.triggers import Event, NewEvent
from orchestrator.sdk.values import encode

#: A span of time, its seconds, or how people write it: `timedelta(minutes=5)`, `300`, `"5m"`.
Span = timedelta | int | float | str
#: How long an invoked function or a signal is waited for where nothing is said.
LONGEST = timedelta(days=365)
_MOST_NAME = 255
_MOST_SIGNAL = 1024


def sleep(step: Found, now: datetime, span: Span, *, race: bool = False) -> SleepAsked:
    """A sleep of this length."""
    return SleepAsked(step.id, step.name, SLEEP, _until(f'sleep "{step.name}"', now, span), race)


def sleep_until(step: Found, now: datetime, moment: datetime | str, *, race: bool = False) -> SleepAsked:
    """A sleep until this moment; one in the past is over at once."""
    place = f'sleep "{step.name}"'
    if isinstance(moment, str):
        return SleepAsked(step.id, step.name, SLEEP, _until(place, now, moment), race)
    if moment.tzinfo is None:
        raise NonRetriable(f"{place}: the moment {moment} has no time zone")
    return SleepAsked(step.id, step.name, SLEEP, _until(place, now, moment - now), race)


def wait(step: Found, now: datetime, events: Sequence[Event | str], timeout: Span, look_back: bool) -> WaitAsked:
    """A wait for the first event of these."""
    place = f'wait "{step.name}"'
    wanted = [_wanted(place, event) for event in events]
    if not wanted:
        raise NonRetriable(f"{place}: it names no event")
    (name, condition), *others = wanted
    return WaitAsked(step.id, step.name, WAIT, name, _until(place, now, timeout), condition, tuple(others), look_back)


def invoke(
    step: Found, now: datetime, function: DurableFunction[..., Any] | str, data: Any, timeout: Span | None
) -> InvokeAsked:
    """A call of another function with an event of these data."""
    slug = function if isinstance(function, str) else function.slug
    text = encode(data if data is not None else {}, f'invoke "{step.name}"')
    if not text.startswith("{"):
        raise NonRetriable(f'invoke "{step.name}": the data must be an object, not {type(data).__name__}')
    until = _until(f'invoke "{step.name}"', now, timeout if timeout is not None else LONGEST)
    return InvokeAsked(step.id, step.name, INVOKE, slug, text, until)


def signal(step: Found, now: datetime, name: str, timeout: Span | None, replace: bool) -> SignalAsked:
    """A wait for a signal."""
    place = f'wait for signal "{step.name}"'
    if not 0 < len(name) <= _MOST_SIGNAL:
        raise NonRetriable(f"{place}: the signal must have 1 to {_MOST_SIGNAL} characters")
    until = _until(place, now, timeout if timeout is not None else LONGEST)
    return SignalAsked(step.id, step.name, SIGNAL, name, until, replace)


def task(step: Found, signature: Any, retry: Retry | None, *, race: bool) -> StepPlanned:
    """A step that a Celery task does."""
    return StepPlanned(step.id, step.name, TASK, race, describe(signature, retry, f'task "{step.name}"'), task=True)


def new_events(event: str | NewEvent | Sequence[NewEvent], data: Any) -> list[NewEvent]:
    """What `send_event` was given, as a list."""
    if isinstance(event, str):
        return [NewEvent(event, data)]
    return [event] if isinstance(event, NewEvent) else list(event)


def _wanted(place: str, event: Event | str) -> tuple[str, str | None]:
    wanted = Event(event) if isinstance(event, str) else event
    if not 0 < len(wanted.name) <= _MOST_NAME or "\0" in wanted.name:
        raise NonRetriable(f"{place}: the event name must have 1 to {_MOST_NAME} characters")
    try:
        condition = wanted.condition()
        if condition is not None:
            compile_expression(condition)
    except ExpressionError as error:
        raise InvalidExpression(f"{place}: {error.message}") from None
    except ValueError as error:
        raise NonRetriable(f"{place}: {error}") from None
    return wanted.name, condition


def _until(place: str, now: datetime, span: Span) -> datetime:
    try:
        if isinstance(span, str):
            return parse_moment(span, now)
        ahead = span if isinstance(span, timedelta) else timedelta(seconds=span)
    except (RequestError, OverflowError, ValueError) as error:
        raise NonRetriable(f"{place}: {error}") from None
    if ahead > MAX_WAIT:
        raise NonRetriable(f"{place}: it lies more than {format_duration(MAX_WAIT)} ahead")
    return now + max(ahead, timedelta())
