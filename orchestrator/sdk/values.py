"""Values into the memo and back: JSON both ways, so that the first time gives what every later one does."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson

from orchestrator.sdk.errors import NonRetriable, StepError
from orchestrator.sdk.triggers import ReceivedEvent

#: Frames of ours begin here; what a person wants to see comes after the last of them.
_OURS = ("/orchestrator/sdk/", "/orchestrator/attach/")
#: Of a stack that is kept.
_MOST_STACK = 64 * 1024
#: Bytes of arguments that are kept for people to look at.
MOST_KEPT = 64 * 1024


def encode(value: Any, what: str) -> str:
    """The JSON text of a value.  Raises `NonRetriable`, in words about `what`, for one that JSON cannot hold."""
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError) as error:
        try:
            return json.dumps(value, default=_plain, allow_nan=False)  # It takes integers beyond 64 bits, too.
        except (TypeError, ValueError, RecursionError):
            pass
        raise NonRetriable(f"{what} gave {_described(value)}, which JSON cannot hold: {error}") from None


def arguments_text(own: tuple[Any, ...]) -> str | None:
    """What is kept of a step's arguments for people to look at: a JSON array.

    None: there are none, JSON cannot hold them (which is no fault: nothing depends on it), or they are large.
    """
    if not own:
        return None
    try:
        text = orjson.dumps(own, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError):
        return None
    return text.decode() if len(text) <= MOST_KEPT else None


def decode(text: str) -> Any:
    """The value of a JSON text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def event_of(text: str, data_class: type[Any] | None = None) -> ReceivedEvent:
    """An event from its wire text.  Raises `NonRetriable` when its data do not fit the class."""
    wire = decode(text)
    data = wire.get("data")
    return ReceivedEvent(
        id=wire.get("id") or "",
        name=wire.get("name") or "",
        data=shaped(data, data_class, f'event "{wire.get("name")}"') if data_class is not None else data,
        ts=datetime.fromtimestamp((wire.get("ts") or 0) / 1000, UTC),
        user=wire.get("user"),
        v=wire.get("v"),
    )


def shaped(data: Any, data_class: type[Any], what: str) -> Any:
    """Data as an instance of a class: a Pydantic model, or whatever msgspec can make."""
    try:
        if hasattr(data_class, "model_validate"):
            return data_class.model_validate(data)
        return msgspec.convert(data, data_class, strict=False)
    except ValueError as error:
        raise NonRetriable(f"{what}: its data are no {data_class.__name__}: {error}") from None


def error_text(error: BaseException) -> str:
    """The error object (JSON) of an exception: name, message, and the stack without our own frames."""
    if isinstance(error, StepError):
        name, stack = error.name, error.stack or _stack(error)
    else:
        name, stack = type(error).__name__, _stack(error)
    made = {"name": name, "message": _utf8(str(error) or name), "stack": _utf8(stack)}
    return orjson.dumps(made).decode()


def step_error(memo: Any) -> StepError:
    """The exception that a memoised error stands for."""
    error = memo if isinstance(memo, dict) else {"message": str(memo)}
    return StepError(str(error.get("message", "")), str(error.get("name", "Error")), error.get("stack"))


def _stack(error: BaseException) -> str:
    frames = traceback.TracebackException.from_exception(error, limit=-100)
    last = max(
        (at for at, frame in enumerate(frames.stack) if any(ours in frame.filename for ours in _OURS)), default=-1
    )
    if last + 1 < len(frames.stack):
        frames.stack = traceback.StackSummary.from_list(list(frames.stack)[last + 1 :])
    return "".join(frames.format())[-_MOST_STACK:]


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return msgspec.to_builtins(value)


def _described(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text[:100]}{'...' if len(text) > 100 else ''}"


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "")
