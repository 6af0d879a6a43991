"""Call a function once, for the driver: its reply in the words of `core.message`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.message import Asked, Returned, Threw
from orchestrator.sdk.async_step import AsyncStep, Board
from orchestrator.sdk.context import AsyncContext, Context
from orchestrator.sdk.errors import Abandoned, Interrupt
from orchestrator.sdk.execution import Execution, Host, is_final, wait_of
from orchestrator.sdk.function import DurableFunction
from orchestrator.sdk.loop import Pump
from orchestrator.sdk.step import Group, Step
from orchestrator.sdk.triggers import ReceivedEvent
from orchestrator.sdk.values import encode, error_text, event_of


@dataclass(frozen=True, slots=True)
class Given:
    """What one call goes by.  `events` are wire texts; `memo` grows by what the host stores."""

    run_id: str
    events: Sequence[str]
    memo: Mapping[str, str]
    target: str | None = None
    plan_only: bool = False
    #: What steps get in place of their own arguments (JSON arrays), by their ids.
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Called:
    """What came of it.  `unseen`: ids of memoised steps that the function, on its way past them, left out."""

    reply: Returned | Threw | Asked
    unseen: tuple[str, ...] = ()


def call(function: DurableFunction[..., Any], given: Given, host: Host) -> Called:
    """Call the function from its top; steps on the way are stored through the host.

    Raises `Abandoned` when the function must not go on; everything else that happens is a reply.
    """
    options = function.options
    execution = Execution(
        host,
        given.memo,
        given.target,
        given.plan_only,
        retry=options.retry,
        max_attempts=options.max_attempts,
        inputs=given.inputs,
    )
    before = len(given.memo)
    try:
        output = _result(function, given, execution)
    except Abandoned:
        raise
    except Interrupt:
        return Called(Asked(given.target, host.attempt, tuple(execution.ops)), _missed(execution, before))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return Called(_threw(function, given, host, error))
    if execution.ops:  # It caught what was not for it to catch.
        return Called(Asked(given.target, host.attempt, tuple(execution.ops)))
    if given.target is not None:
        return Called(Asked(given.target, host.attempt, ()))
    return Called(Returned(None, host.attempt, output), execution.unseen)


def _missed(execution: Execution, before: int) -> tuple[str, ...]:
    """What a function that asks for something new left out of what it did before; a targeted call may well."""
    return execution.unseen if execution.target is None and execution.ops and before else ()


def _result(function: DurableFunction[..., Any], given: Given, execution: Execution) -> str:
    events = [_event(function, text) for text in given.events]
    if function.is_async:
        board = Board(execution)
        awaited = AsyncContext(execution, given.run_id, function.id, events, AsyncStep(board))
        value = Pump(execution, board).run(function.handler(awaited))
    else:
        value = function.handler(
            Context(execution, given.run_id, function.id, events, Step(execution), Group(execution))
        )
    return encode(value, f'function "{function.slug}"')


def _event(function: DurableFunction[..., Any], text: str) -> ReceivedEvent:
    event = event_of(text)
    data_class = function.event_class(event.name)
    return event_of(text, data_class) if data_class is not None else event


def _threw(function: DurableFunction[..., Any], given: Given, host: Host, error: BaseException) -> Threw:
    policy, attempt = function.options.retry, host.attempt
    after = wait_of(error, host.now())
    return Threw(
        given.target,
        attempt,
        error_text(error),
        retryable=not is_final(error, policy),
        retry_after=after,
        backoff=policy.wait(attempt) if policy is not None and after is None else None,
    )
