"""The tools of a plain (`def`) function: each returns when the step is done, be that weeks later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from orchestrator.core.message import Op
from orchestrator.sdk import asks
from orchestrator.sdk.asks import Span
from orchestrator.sdk.errors import Interrupt
from orchestrator.sdk.execution import INVOKE, RUN, SIGNAL, SLEEP, TASK, WAIT, Execution, Found, run_body
from orchestrator.sdk.function import DurableFunction
from orchestrator.sdk.options import Retry
from orchestrator.sdk.triggers import Event, NewEvent, ReceivedEvent
from orchestrator.sdk.values import encode, event_of

P = ParamSpec("P")
T = TypeVar("T")


class Step:
    """Durable steps.  The first argument of each is its id: your words, the same every time the function is called."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def run(self, id: str, body: Callable[..., T], *args: Any, retry: Retry | None = None) -> T:
        """Call `body(*args)` once, whatever happens, and return its result (as JSON gives it back).

        An exception makes the step fail; it is tried again as `retry` says, or else as the function's own policy does,
        and in the end raised here as a `StepError`.
        """
        execution = self._execution
        step = execution.identify(id)
        if not execution.knows(step):
            if execution.planning(step):
                execution.plan(step)
                raise Interrupt
            run_body(execution, step, lambda: body(*execution.arguments(step, args)), retry)
        result: T = execution.outcome(step, RUN)
        return result

    def sleep(self, id: str, duration: Span) -> None:
        """Sleep; costs a row and nothing else, however long."""
        self._asked(id, SLEEP, lambda step, now: asks.sleep(step, now, duration))

    def sleep_until(self, id: str, moment: datetime | str) -> None:
        """Sleep until a moment (with a time zone, or as an ISO-8601 text)."""
        self._asked(id, SLEEP, lambda step, now: asks.sleep_until(step, now, moment))

    def wait_for_event(
        self, id: str, event: Event | str, timeout: Span, *, look_back: bool = False
    ) -> ReceivedEvent | None:
        """Wait for an event; None when it did not come in time.  `look_back`: since the run's start counts."""
        return self.wait_for_any(id, [event], timeout, look_back=look_back)

    def wait_for_any(
        self, id: str, events: Sequence[Event | str], timeout: Span, *, look_back: bool = False
    ) -> ReceivedEvent | None:
        """Wait for the first of several events; None when none came in time."""
        return received(
            self._asked(id, WAIT, lambda step, now: asks.wait(step, now, events, timeout, look_back)), events
        )

    def wait_for_all(
        self, id: str, events: Sequence[Event | str], timeout: Span, *, look_back: bool = False
    ) -> list[ReceivedEvent | None]:
        """Wait for one event of each kind; None in the place of each that did not come in time."""
        waits = [
            lambda at=at, event=event: self.wait_for_event(f"{id}.{at}", event, timeout, look_back=look_back)
            for at, event in enumerate(events)
        ]
        return list(parallel(self._execution, waits, race=False))

    def wait_for_signal(self, id: str, signal: str, timeout: Span | None = None, *, replace: bool = False) -> Any:
        """Wait for a signal and return its data; None when it did not come in time."""
        value = self._asked(id, SIGNAL, lambda step, now: asks.signal(step, now, signal, timeout, replace))
        return value.get("data") if isinstance(value, dict) else value

    def task(self, id: str, signature: Any, *, retry: Retry | None = None) -> Any:
        """Let a Celery task of your own (`resize.s(url)`) run on your workers, and return its result.

        Its queue, options, limits and retries are its own.  When it fails for good, so does the step, unless `retry`
        says to send it anew.
        """
        return self._asked(id, TASK, lambda step, _: asks.task(step, signature, retry, race=self._execution.racing))

    def invoke(
        self, id: str, function: DurableFunction[..., Any] | str, data: Any = None, *, timeout: Span | None = None
    ) -> Any:
        """Call another function (one of this process, or any by its slug) and return its result."""
        return self._asked(id, INVOKE, lambda step, now: asks.invoke(step, now, function, data, timeout))

    def send_event(self, id: str, event: str | NewEvent | Sequence[NewEvent], data: Any = None) -> list[str]:
        """Send events, once; returns their ids."""
        return self._hosted(id, lambda step: self._execution.host.send(asks.new_events(event, data), step.id))

    def send_signal(self, id: str, signal: str, data: Any = None) -> bool:
        """Give a signal to the run that waits for it; False: none does."""
        text = encode(data, f'signal "{signal}"')
        return self._hosted(id, lambda _: self._execution.host.signal(signal, text))

    def _hosted(self, id: str, do: Callable[[Found], T]) -> T:
        execution = self._execution
        step = execution.identify(id)
        if not execution.knows(step):
            if execution.planning(step):
                execution.plan(step)
                raise Interrupt
            execution.takes_no_input(step)
            run_body(execution, step, lambda: do(step), None)
        result: T = execution.outcome(step, RUN)
        return result

    def _asked(self, id: str, kind: str, make: Callable[[Found, datetime], Op]) -> Any:
        execution = self._execution
        step = execution.identify(id)
        if not execution.knows(step):
            execution.ask(make(step, execution.host.now()))
            raise Interrupt
        return execution.outcome(step, kind)


class Group:
    """Steps at the same time."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def parallel(self, branches: Sequence[Callable[[], Any]], *, race: bool = False) -> tuple[Any, ...]:
        """Do all branches at the same time, each with steps of its own; returns their results in order.

        The function goes on when the steps under way are all done, or with `race` after each of them.
        """
        return parallel(self._execution, branches, race=race)


def parallel(execution: Execution, branches: Sequence[Callable[[], T]], *, race: bool) -> tuple[T, ...]:
    """Take every branch as far as it gets.  Raises `Interrupt` unless all got to their ends."""
    results, blocked = list[T](), False
    with execution.group(race):
        for branch in branches:
            try:
                results.append(branch())
            except Interrupt:
                blocked = True
    if blocked:
        raise Interrupt
    return tuple(results)


def received(memo: Any, events: Sequence[Event | str]) -> ReceivedEvent | None:
    """The event of a wait's outcome, with its data in the class that was asked for."""
    if memo is None:
        return None
    name = memo.get("name")
    wanted = next((it for it in events if isinstance(it, Event) and it.name == name), None)
    return event_of(encode(memo, "the event"), wanted.data if wanted is not None else None)
