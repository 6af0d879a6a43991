"""Functions in process behind the names of the official Python SDK: one body of a rule runs under every driver.

A body is written once, as a plain function on the SDK's context.  `plain` gives it our `Context`.  `awaited` runs it
under our `AsyncContext`: in threads that take turns with the event loop, so that it meets the tools of `async def`
functions in the order in which a coroutine would.
"""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import inngest

from orchestrator.cli.embedded import EmbeddedServer
from orchestrator.engine.declare import declare
from orchestrator.sdk.context import AsyncContext, Context
from orchestrator.sdk.errors import NonRetriable, RetryAfter, StepError
from orchestrator.sdk.function import APPS, DurableFunction, Registry
from orchestrator.sdk.options import Options, Timeouts
from orchestrator.sdk.step import Group
from orchestrator.sdk.triggers import Cancel, Cron, Event, NewEvent, ReceivedEvent
from tests.wire.promises import promises, span

#: The drivers that call functions of this process.
IN_PROCESS = ("plain", "awaited")

Body = Callable[[Any], object]
Declare = Callable[[Registry], DurableFunction[..., Any]]


class LocalApp:
    """The app of `tests.wire.harness`, with its functions in the process of the server."""

    keys = None

    def __init__(self, embedded: EmbeddedServer, app_id: str, *, awaited: bool) -> None:
        self.app_id = app_id
        self._embedded = embedded
        self._awaited = awaited
        self._calls = defaultdict[str, list[int]](list)

    @property
    def client(self) -> LocalApp:
        """What declares functions, as the SDK's client does."""
        return self

    def again(self) -> LocalApp:
        """A later version of the app."""
        return LocalApp(self._embedded, self.app_id, awaited=self._awaited)

    def another(self, app_id: str) -> LocalApp:
        """One more app on the same server."""
        return LocalApp(self._embedded, app_id, awaited=self._awaited)

    def function(self, fn_id: str, event: str, **options: Any) -> Callable[[Body], Declared]:
        """Declare a function on one event."""
        trigger = inngest.TriggerEvent(event=event, expression=options.pop("expression", None))
        return self.create_function(fn_id=fn_id, trigger=trigger, **options)

    def create_function(
        self,
        *,
        fn_id: str,
        trigger: inngest.TriggerEvent | inngest.TriggerCron,
        retries: int = 4,
        cancel: Sequence[inngest.Cancel] = (),
        on_failure: Body | None = None,
        timeouts: inngest.Timeouts | None = None,
        **asked: Any,
    ) -> Callable[[Body], Declared]:
        """Declare a function, as the SDK's client does."""

        def made(body: Body) -> Declared:
            return Declared(
                self.app_id,
                fn_id,
                lambda registry: registry.add(
                    self._handler(body),
                    _trigger(trigger),
                    id=fn_id,
                    cancel_on=[_cancel(one) for one in cancel],
                    on_failure=self._handler(on_failure) if on_failure else None,
                    options=Options(retries=retries, timeouts=_timeouts(timeouts), **promises(asked)),
                ),
            )

        return made

    def serve(self, functions: Sequence[Declared], *, sync: bool = True) -> None:
        """Hold the functions, and make them known."""
        registry = Registry(self.app_id)
        for function in functions:
            function.declare(registry)
        APPS[self.app_id] = registry
        declare(self._embedded.parts, registry, "1")

    @property
    def requests(self) -> list[int]:
        """The calls that were made, for whatever run; no request makes the app known."""
        return [call for calls in list(self._calls.values()) for call in calls]

    def calls(self, run_id: str) -> list[int]:
        """The calls that were made for a run; each is given as its number."""
        return self._calls[run_id]

    def either(self, over_http: object, in_process: object) -> object:
        """What differs between the drivers: here a chain of steps is one call."""
        return in_process

    def stop(self) -> None:
        APPS.pop(self.app_id, None)

    def _handler(self, body: Body) -> Callable[..., Any]:
        if self._awaited:

            async def handler(ctx: AsyncContext) -> object:
                self._note(ctx.run_id)
                turns = Turns()
                with _sdk_errors():
                    return await turns.take(lambda: body(_Given(ctx, _AwaitedStep(ctx.step, turns), turns)))

            return handler

        def plain(ctx: Context) -> object:
            self._note(ctx.run_id)
            with _sdk_errors():
                return body(_Given(ctx, _PlainStep(ctx.step), _Group(ctx.group)))

        return plain

    def _note(self, run_id: str) -> None:
        self._calls[run_id].append(len(self._calls[run_id]))


class Declared:
    """A function on its way into a registry."""

    def __init__(self, app_id: str, fn_id: str, declare: Declare) -> None:
        self.slug = f"{app_id}-{fn_id}"
        self.declare = declare


class _Given:
    """The SDK's context."""

    def __init__(self, ctx: Context | AsyncContext, step: _Step, group: Any) -> None:
        self._ctx = ctx
        self.step = step
        self.group = group
        self.event = _event(ctx.event)
        self.events = [_event(event) for event in ctx.events]
        self.run_id = ctx.run_id

    @property
    def attempt(self) -> int:
        return self._ctx.attempt


class _Step:
    """The SDK's tools, with its names and forms of arguments."""

    def _do(self, tool: str, *args: Any, **options: Any) -> Any:
        raise NotImplementedError

    def run(self, step_id: str, handler: Callable[..., Any], *args: Any) -> Any:
        return self._do("run", step_id, _body(handler), *args)

    def sleep(self, step_id: str, duration: int | timedelta) -> None:
        self._do("sleep", step_id, span(duration))

    def sleep_until(self, step_id: str, until: datetime) -> None:
        self._do("sleep_until", step_id, until)

    def wait_for_event(
        self, step_id: str, *, event: str, if_exp: str | None = None, timeout: int | timedelta
    ) -> inngest.Event | None:
        found = self._do("wait_for_event", step_id, Event(event, if_=if_exp), span(timeout))
        return _event(found) if found is not None else None

    def wait_for_signal(self, step_id: str, signal: str, timeout: str, *, replace: bool = False) -> Any:
        """The Python SDK has none of its own."""
        return self._do("wait_for_signal", step_id, signal, timeout, replace=replace)

    def invoke(self, step_id: str, *, function: Declared, data: Any = None, timeout: Any = None) -> Any:
        return self._do("invoke", step_id, function.slug, data, timeout=span(timeout))

    def invoke_by_id(
        self, step_id: str, *, app_id: str, function_id: str, data: Any = None, timeout: Any = None
    ) -> Any:
        return self._do("invoke", step_id, f"{app_id}-{function_id}", data, timeout=span(timeout))

    def send_event(self, step_id: str, events: inngest.Event | list[inngest.Event]) -> list[str]:
        new = [NewEvent(it.name, it.data, it.id or None) for it in (events if isinstance(events, list) else [events])]
        ids: list[str] = self._do("send_event", step_id, new)
        return ids


class _PlainStep(_Step):
    def __init__(self, step: Any) -> None:
        self._step = step

    def _do(self, tool: str, *args: Any, **options: Any) -> Any:
        with _our_errors():
            return getattr(self._step, tool)(*args, **options)


class _AwaitedStep(_Step):
    def __init__(self, step: Any, turns: Turns) -> None:
        self._step = step
        self._turns = turns

    def _do(self, tool: str, *args: Any, **options: Any) -> Any:
        with _our_errors():
            return self._turns.wait(lambda: getattr(self._step, tool)(*args, **options))


class _Group:
    """The SDK's group of plain functions."""

    def __init__(self, group: Group) -> None:
        self._group = group

    def parallel(self, branches: Sequence[Callable[[], Any]], parallel_mode: Any = None) -> tuple[Any, ...]:
        return self._group.parallel(branches, race=parallel_mode is inngest.ParallelMode.RACE)


class Turns:
    """Plain code that awaits: it runs in a thread while the event loop stands still, and the other way round."""

    def __init__(self) -> None:
        self._mine = threading.local()

    async def take(self, code: Callable[[], Any]) -> Any:
        """Run code that may `wait`, to its end."""
        asked = queue.SimpleQueue[tuple[str, Any]]()
        answers = queue.SimpleQueue[tuple[Any, BaseException | None]]()
        threading.Thread(target=self._run, args=(code, asked, answers), daemon=True).start()
        while True:
            what, value = await_turn(asked)
            if what == "returned":
                return value
            if what == "raised":
                raise value
            try:
                answers.put((await value(), None))
            except BaseException as error:  # also what ends a coroutine: it ends the code, too
                answers.put((None, error))

    def wait(self, make: Callable[[], Awaitable[Any]]) -> Any:
        """Let the loop go on until it has an answer."""
        self._mine.asked.put(("awaits", make))
        value, error = self._mine.answers.get()
        if error is not None:
            raise error
        return value

    def parallel(self, branches: Sequence[Callable[[], Any]], parallel_mode: Any = None) -> tuple[Any, ...]:
        """The SDK's group: all branches together, each of which goes on by itself in any mode."""

        async def together() -> tuple[Any, ...]:
            strands: list[Coroutine[Any, Any, Any]] = [self.take(branch) for branch in branches]
            return tuple(await asyncio.gather(*strands))

        return tuple(self.wait(together))

    def _run(self, code: Callable[[], Any], asked: Any, answers: Any) -> None:
        self._mine.asked, self._mine.answers = asked, answers
        try:
            asked.put(("returned", code()))
        except BaseException as error:
            asked.put(("raised", error))


def await_turn(asked: queue.SimpleQueue[tuple[str, Any]]) -> tuple[str, Any]:
    """What the code wants next; the loop stands still meanwhile, as it does while a coroutine runs."""
    return asked.get(timeout=50)


@contextmanager
def _our_errors() -> Iterator[None]:
    """Ours in the SDK's words, for the function."""
    try:
        yield
    except StepError as error:
        raise inngest.StepError(error.message, error.name, error.stack) from None


@contextmanager
def _sdk_errors() -> Iterator[None]:
    """The SDK's in our words, for our SDK."""
    try:
        yield
    except inngest.StepError as error:
        raise StepError(error.message, error.name, error.stack) from None
    except inngest.NonRetriableError as error:
        raise NonRetriable(str(error)) from error
    except inngest.RetryAfterError as error:
        raise RetryAfter(str(error), error.retry_after - datetime.now()) from error


def _body(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    def body(*args: Any) -> Any:
        with _sdk_errors():
            return handler(*args)

    return body


def _event(event: ReceivedEvent) -> inngest.Event:
    return inngest.Event(name=event.name, data=event.data, id=event.id, ts=int(event.ts.timestamp() * 1000))


def _trigger(trigger: inngest.TriggerEvent | inngest.TriggerCron) -> Event | Cron:
    if isinstance(trigger, inngest.TriggerCron):
        return Cron(trigger.cron)
    return Event(trigger.event, if_=trigger.expression)


def _timeouts(timeouts: inngest.Timeouts | None) -> Timeouts | None:
    return Timeouts(span(timeouts.start), span(timeouts.finish)) if timeouts is not None else None


def _cancel(cancel: inngest.Cancel) -> Cancel:
    return Cancel(Event(cancel.event, if_=cancel.if_exp), within=span(cancel.timeout))
