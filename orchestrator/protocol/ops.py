"""The ops of a 206 answer: what each opcode of the wire means in the words of `core.message`.

Serving another opcode takes one function and one line in `OPS`.  Users' values stay the text they came as.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from orchestrator.core.durations import parse_moment
from orchestrator.core.message import (
    DeferAsked,
    DeferDropped,
    DiscoveryAsked,
    FetchAsked,
    InvokeAsked,
    Op,
    SignalAsked,
    SleepAsked,
    StepDone,
    StepErrored,
    StepPlanned,
    Unserved,
    WaitAsked,
)
from orchestrator.errors import ExpressionError, RequestError, TooLargeError
from orchestrator.expressions.cel import compile_expression
from orchestrator.protocol import gateway, run_errors

MAX_OPS = 1_000
#: Of one step's output, and of its input.
MAX_STEP_VALUE = 4 * 1024 * 1024
#: Step ids are SHA-1 hashes (40 characters); the store keeps this many.
MAX_STEP_ID = 64
#: Longer display names are cut.
MAX_NAME = 255
#: Names of events that are waited for, and of signals.
MAX_AWAITED = 255
MAX_SIGNAL = 1024
#: How long an invoked function or a signal is waited for where the app says nothing.
LONGEST_DEFAULT = timedelta(days=365)
#: What a step is to people, whichever opcode tells of it: planned, failed, or done.
KIND_RUN = "StepRun"
#: Ends the run as a plain 200 does; `protocol.reply` reads it.
RUN_COMPLETE = "RunComplete"
#: The id of the op that ends a run; a failure under it is the function's own.
COMPLETE_ID = "0737c22d3bfae812339732d14d8c7dbd6dc4e09c"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WireOp(msgspec.Struct, frozen=True, gc=False):
    """An op as it comes; keys that mean nothing here (`mode`, `rawArgs`, `userland`, ...) are not read."""

    op: str
    id: str | None = None
    name: str | None = None
    display_name: str | None = msgspec.field(name="displayName", default=None)
    opts: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    timing: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else of the answer an op's meaning depends on."""

    now: datetime
    sdk: str
    no_retry: bool = False
    retry_after: timedelta | None = None


class Refused(Exception):  # noqa: N818 - caught next door, always
    """The whole answer cannot be taken; `error` is the error object (JSON text)."""

    def __init__(self, name: str, message: str, retryable: bool) -> None:
        super().__init__(message)
        self.error = run_errors.error_text(name, message)
        self.retryable = retryable


def read_op(wire: WireOp, circumstances: Circumstances) -> Op | None:
    """Give an op its meaning; None for one that means nothing.  Raises `Refused`."""
    parse = OPS.get(wire.op)
    if parse is None:
        return _unserved(wire, circumstances)
    return parse(wire, circumstances)


def value_text(value: msgspec.Raw) -> str:
    """Give a JSON value as text; a missing one is null."""
    return bytes(value).decode() or "null"


# One function for each opcode served.


def _step_run(wire: WireOp, _: Circumstances) -> Op:
    return _done(wire, value_text(wire.data))


def _legacy_step(wire: WireOp, _: Circumstances) -> Op:
    wrapped = _object(wire.data)
    return _done(wire, value_text(wrapped["data"] if wrapped.keys() == {"data"} else wire.data))


def _done(wire: WireOp, output: str) -> Op:
    step_id, name = _identity(wire)
    _check_size(name, "output", output)
    return StepDone(step_id, name, KIND_RUN, output, _started_at(wire), _input(wire, name))


def _step_error(wire: WireOp, circumstances: Circumstances) -> Op:
    step_id, name = _identity(wire)
    return StepErrored(
        step_id,
        name,
        KIND_RUN,
        error=run_errors.error_object(value_text(wire.error)),
        final=wire.op == "StepFailed" or circumstances.no_retry,
        retry_after=circumstances.retry_after,
        started_at=_started_at(wire),
        input=_input(wire, name),
    )


def _step_planned(wire: WireOp, _: Circumstances) -> Op:
    step_id, name = _identity(wire)
    return StepPlanned(step_id, name, KIND_RUN, _race(wire), _input(wire, name))


def _sleep(wire: WireOp, circumstances: Circumstances) -> Op:
    step_id, name = _identity(wire)
    text = _string(_object(wire.opts).get("duration")) or wire.name or ""
    # The TypeScript SDK writes whole seconds, and so nothing for less than one.
    return SleepAsked(step_id, name, wire.op, _moment(f'sleep "{name}"', text, circumstances.now), _race(wire))


def _wait_for_event(wire: WireOp, circumstances: Circumstances) -> Op:
    step_id, name = _identity(wire)
    place, options = f'wait "{name}"', _object(wire.opts)
    event = _string(options.get("event")) or wire.name or ""
    if not 0 < len(event) <= MAX_AWAITED or "\0" in event:
        raise _malformed(f"{place}: the event name must have 1 to {MAX_AWAITED} characters")
    until = _moment(place, _string(options.get("timeout")) or "", circumstances.now)
    return WaitAsked(step_id, name, wire.op, event, until, _condition(place, _string(options.get("if"))))


def _condition(place: str, expression: str | None) -> str | None:
    if not expression:
        return None
    try:
        compile_expression(expression)
    except ExpressionError as error:
        raise Refused(run_errors.INVALID_EXPRESSION, f"{place}: {error.message}", retryable=False) from None
    return expression


def _invoke(wire: WireOp, circumstances: Circumstances) -> Op:
    step_id, name = _identity(wire)
    place, options = f'invoke "{name}"', _object(wire.opts)
    function = _string(options.get("function_id"))
    if not function:
        raise _malformed(f"{place}: it names no function")
    payload = _object(options.get("payload", msgspec.Raw()))
    data = value_text(payload.get("data", msgspec.Raw()))
    _check_size(name, "data", data)
    if data == "null":
        data = "{}"
    if not data.startswith("{"):
        raise _malformed(f"{place}: the data must be an object")
    user = payload.get("user", msgspec.Raw())
    until = _until(place, options, circumstances.now)
    return InvokeAsked(
        step_id,
        name,
        wire.op,
        function.replace("\0", ""),
        data,
        until,
        value_text(user) if _object(user) else None,
        _string(payload.get("v")),
    )


def _wait_for_signal(wire: WireOp, circumstances: Circumstances) -> Op:
    step_id, name = _identity(wire)
    place, options = f'wait for signal "{name}"', _object(wire.opts)
    signal = _string(options.get("signal")) or wire.name or ""
    if not 0 < len(signal) <= MAX_SIGNAL:
        raise _malformed(f"{place}: the signal must have 1 to {MAX_SIGNAL} characters")
    replace = _string(options.get("conflict")) == "replace"
    return SignalAsked(step_id, name, wire.op, signal, _until(place, options, circumstances.now), replace)


def _gateway(wire: WireOp, _: Circumstances) -> Op:
    step_id, name = _identity(wire)
    _check_size(name, "request", value_text(wire.opts))
    try:
        asked = gateway.asked(wire.op, _object(wire.opts))
    except ValueError as error:
        # Decoders quote what they could not read, which may be a secret.
        said = "its options cannot be read" if isinstance(error, msgspec.MsgspecError) else str(error)
        raise _malformed(f'request "{name}": {said}') from None
    return FetchAsked(step_id, name, wire.op, gateway.text_of(asked))


def _defer(wire: WireOp, _: Circumstances) -> Op | None:
    """What cannot be deferred is left out: the SDK promises that deferring never fails a function."""
    step_id, name = _identity(wire)
    options = _object(wire.opts)
    function, data = _string(options.get("fn_slug")), value_text(options.get("input", msgspec.Raw()))
    if data == "null":
        data = "{}"
    if not function or not data.startswith("{") or len(data.encode()) > MAX_STEP_VALUE:
        return None
    return DeferAsked(step_id, name, wire.op, function.replace("\0", ""), data)


def _drop_deferred(wire: WireOp, _: Circumstances) -> Op | None:
    step_id, name = _identity(wire)
    target = _string(_object(wire.opts).get("target_hashed_id"))
    return DeferDropped(step_id, name, wire.op, target) if target else None


def _discovery(wire: WireOp, _: Circumstances) -> Op:
    return DiscoveryAsked(*_identity(wire), wire.op)


def _until(place: str, options: dict[str, msgspec.Raw], now: datetime) -> datetime:
    text = _string(options.get("timeout"))
    return _moment(place, text, now) if text else now + LONGEST_DEFAULT


def _moment(place: str, text: str, now: datetime) -> datetime:
    if not text:
        return now
    try:
        return parse_moment(text, now)
    except TooLargeError as error:
        raise Refused(run_errors.TIMEOUT_TOO_LONG, f"{place}: {error.message}", retryable=False) from None
    except RequestError as error:
        raise _malformed(f"{place}: {error.message}") from None


def _nothing(_wire: WireOp, _: Circumstances) -> None:
    return None


def _unserved(wire: WireOp, circumstances: Circumstances) -> Op:
    step_id, name = _identity(wire)
    opcode = wire.op[:MAX_NAME]
    reason = f'the app\'s SDK ({circumstances.sdk}) asked for "{opcode}", which this server does not serve'
    return Unserved(step_id, name, opcode, reason)


OPS: Mapping[str, Callable[[WireOp, Circumstances], Op | None]] = {
    "AIGateway": _gateway,
    "DeferAbort": _drop_deferred,
    "DeferAdd": _defer,
    "DiscoveryRequest": _discovery,
    "Gateway": _gateway,
    "InvokeFunction": _invoke,
    "None": _nothing,
    "Sleep": _sleep,
    "Step": _legacy_step,
    "StepError": _step_error,
    "StepFailed": _step_error,
    "StepPlanned": _step_planned,
    "StepRun": _step_run,
    "WaitForEvent": _wait_for_event,
    "WaitForSignal": _wait_for_signal,
}


# What ops have in common.


def _identity(wire: WireOp) -> tuple[str, str]:
    step_id = wire.id or ""
    if not 0 < len(step_id) <= MAX_STEP_ID or "\0" in step_id:
        raise _malformed(f'an op "{wire.op[:MAX_NAME]}" has no id of 1 to {MAX_STEP_ID} characters')
    name = wire.display_name or wire.name or step_id
    return step_id, name.replace("\0", "")[:MAX_NAME]


def _started_at(wire: WireOp) -> datetime | None:
    try:
        nanoseconds = msgspec.json.decode(_object(wire.timing).get("a", b"null"), type=int)
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except (msgspec.MsgspecError, OverflowError):
        return None


def _race(wire: WireOp) -> bool:
    return _string(_object(wire.opts).get("parallelMode")) == "race"


def _input(wire: WireOp, name: str) -> str | None:
    value = _object(wire.opts).get("input")
    text = "null" if value is None else value_text(value)
    _check_size(name, "input", text)
    return None if text == "null" else text


def _check_size(name: str, kind: str, text: str) -> None:
    if len(text) <= MAX_STEP_VALUE // 4:
        return
    size = len(text.encode())
    if size > MAX_STEP_VALUE:
        message = f'the {kind} of step "{name}" has {size} bytes; the limit is {MAX_STEP_VALUE} bytes (4 MiB)'
        raise Refused(run_errors.STEP_OUTPUT_TOO_LARGE, message, retryable=False)


def _object(value: msgspec.Raw) -> dict[str, msgspec.Raw]:
    text = bytes(value)
    return msgspec.json.decode(text, type=dict[str, msgspec.Raw]) if text.startswith(b"{") else {}


def _string(value: msgspec.Raw | None) -> str | None:
    text = b"" if value is None else bytes(value)
    return msgspec.json.decode(text, type=str) if text.startswith(b'"') else None


def _malformed(message: str) -> Refused:
    return Refused(run_errors.INVALID_ANSWER, message, retryable=True)
