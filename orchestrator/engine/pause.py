"""Open pauses: what a function waits for, and what cancels its runs, as rows that events find by an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from orchestrator.core.effect import OpenPause
from orchestrator.core.event import Invocation, invoked_event
from orchestrator.core.function import Cancel
from orchestrator.core.message import Asked, InvokeAsked, Message, SignalAsked, Threw, WaitAsked
from orchestrator.core.run import Decision, Run
from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import compile_expression
from orchestrator.expressions.index import equality_terms
from orchestrator.expressions.stored import value_of
from orchestrator.ids import new_ulid
from orchestrator.protocol import run_errors
from orchestrator.store import functions, pauses
from orchestrator.store.apply import Opened
from orchestrator.store.database import Connection
from orchestrator.store.functions import StoredFunction
from orchestrator.store.pauses import Pause
from orchestrator.store.runs import Loaded

#: How long a cancelling event is listened for where the function says nothing.
_LONGEST = timedelta(days=365)
_CONFLICT = "Signal conflict; signal wait already exists for another run"
_TOO_LATE = "Timed out waiting for invoked function to complete"


def opened_by(conn: Connection, loaded: Loaded, decision: Decision, now: datetime) -> list[Opened]:
    """The pauses that a decision opens, with the events of those that invoke a function."""
    asked = [effect.asked for effect in decision.effects if isinstance(effect, OpenPause)]
    if not asked or decision.run.status.final:
        return []
    function = functions.function(conn, loaded.run.function_id)
    # In one order by everybody: two runs that take signals from each other must not wait for each other.
    asked.sort(key=lambda ask: ask.signal if isinstance(ask, SignalAsked) else "")
    return [opened for ask in asked for opened in _opened(loaded, function, ask, now)]


def may_wait(conn: Connection, run: Run, message: Message) -> Message:
    """The message; or the failure that it is, because it asks for a signal that somebody else waits for."""
    if not isinstance(message, Asked) or run.status.final:
        return message
    here = dict[str, str]()
    for op in message.ops:
        if isinstance(op, SignalAsked):
            if not op.replace and _waits_elsewhere(conn, run, op, here):
                error = run_errors.error_text("SignalConflict", _CONFLICT)
                return Threw(None, message.attempt, error, retryable=False)
            here[op.signal] = op.id
    return message


def asks_for_signal(message: Message) -> bool:
    """Whether the message asks to wait for a signal."""
    return isinstance(message, Asked) and any(isinstance(op, SignalAsked) for op in message.ops)


def cancel_pauses(run_id: str, cancels: Sequence[Cancel], event: str, now: datetime) -> list[Pause]:
    """The pauses through which events cancel a new run; `event` is the text of the one that starts it."""
    if not cancels:
        return []
    first = value_of(event)
    made = []
    for cancel in cancels:
        path, key = _term(cancel.expression, first)
        until = now + (cancel.timeout or _LONGEST)
        made.append(Pause(new_ulid(), pauses.CANCEL, run_id, until, None, cancel.event, cancel.expression, path, key))
    return made


def missing_function(slug: str) -> str:
    """The error (JSON object) of an invoke of a function that does not exist."""
    return invoke_error("Error", f"could not find function with ID: {slug}")


def invoke_error(name: str, message: str, stack: str | None = None) -> str:
    """The error (JSON object) of an invoke, with the members the SDKs know."""
    error = {"error": f"{name}: {message}", "message": message, "name": name}
    return orjson.dumps(error if stack is None else error | {"stack": stack}).decode()


def _waits_elsewhere(conn: Connection, run: Run, op: SignalAsked, here: Mapping[str, str]) -> bool:
    """Whether another run, or another step of this one, waits for the signal; `here`: steps of the same answer."""
    if op.signal in here:
        return here[op.signal] != op.id
    waiter = pauses.waiting_for(conn, op.signal)
    return waiter is not None and (waiter.run_id, waiter.step_id) != (run.id, op.id)


def _opened(
    loaded: Loaded, function: StoredFunction | None, ask: WaitAsked | InvokeAsked | SignalAsked, now: datetime
) -> list[Opened]:
    run_id, step_id = loaded.run.id, ask.id
    match ask:
        case WaitAsked():
            return _waits(loaded, function, ask)
        case SignalAsked():
            pause = Pause(new_ulid(), pauses.SIGNAL, run_id, ask.until, step_id, signal=ask.signal)
            return [Opened(pause, replaces=ask.replace)]
        case InvokeAsked():
            pause = Pause(new_ulid(), pauses.INVOKE, run_id, ask.until, step_id)
            late = invoke_error("InngestInvokeTimeoutError", _TOO_LATE)
            event = invoked_event(_invocation(loaded, function, ask), now, new_ulid())
            return [Opened(pause, late, event)]


def _waits(loaded: Loaded, function: StoredFunction | None, ask: WaitAsked) -> list[Opened]:
    """One pause for each event that would do; the first that comes closes them all."""
    looks_back = ask.look_back or (function is not None and function.wait_look_back)
    made = list[Opened]()
    for event, expression in ((ask.event, ask.expression), *ask.others):
        path, key = _term(expression, value_of(loaded.event) if expression else {})
        about = (ask.id, event, expression, path, key)
        pause = Pause(new_ulid(), pauses.EVENT, loaded.run.id, ask.until, *about)
        made.append(Opened(pause, looks_back=looks_back, timer=not made))
    return made


def _invocation(loaded: Loaded, function: StoredFunction | None, ask: InvokeAsked) -> Invocation:
    return Invocation(
        run_id=loaded.run.id,
        step_id=ask.id,
        step_name=ask.name,
        function=ask.function,
        data=ask.data,
        expires_at=ask.until,
        source_app_id=function.app_id if function is not None else "",
        source_function_id=loaded.run.function_id,
        source_version=loaded.run.function_version,
        user=ask.user,
        v=ask.v,
    )


def _term(expression: str | None, event: Mapping[str, Any]) -> tuple[str, str]:
    """The first thing the expression demands that can be looked up; empty: every event has to be tried."""
    if not expression:
        return "", ""
    try:
        terms = equality_terms(compile_expression(expression), event)
    except ExpressionError:
        return "", ""
    for term in terms:
        path = orjson.dumps(term.path).decode()
        if len(path) <= pauses.MAX_PATH:
            return path, term.value
    return "", ""
