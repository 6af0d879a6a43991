"""Bodies by which somebody outside orders a run: of a function, or of a run once more.

What is handed on to a function is kept as the text that was sent, and bounded as an event is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import orjson

from orchestrator.errors import RequestError
from orchestrator.protocol.events import EventLimits, parse_events

#: Of a key by which an order is known.
MAX_KEY = 256
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class InvokeOrder:
    """A function's run: `data` is a JSON object; the same key again is the same order."""

    data: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class RerunOrder:
    """A run once more, from a step if one is named; `input` is the JSON array of its arguments."""

    step: str | None = None
    input: str | None = None


def read_invoke(body: bytes, now: datetime, limits: EventLimits) -> InvokeOrder:
    """Read `{"data"?, "idempotencyKey"?}`; nothing at all is an order without data.  Raises `RequestError`."""
    values, texts = _object(body)
    key = values.get("idempotencyKey")
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= MAX_KEY):
        raise RequestError(f"idempotencyKey must be a text of 1 to {MAX_KEY} characters")
    if not isinstance(values.get("data") or {}, dict):
        raise RequestError("data must be an object")
    # What an event may carry, a function may be invoked with.
    parsed = parse_events(
        b'{"name":"invoke","data":' + (texts.get("data") or b"null") + b"}", id_at=str, now=now, limits=limits
    )
    if parsed.error is not None:
        raise parsed.error
    return InvokeOrder(parsed.events[0].data, key)


def read_rerun(body: bytes) -> RerunOrder:
    """Read `{"fromStep"?: {"stepId", "input"?}}`, or nothing.  Raises `RequestError`."""
    values, texts = _object(body)
    step = values.get("fromStep")
    if step is None:
        return RerunOrder()
    if not isinstance(step, dict):
        raise RequestError("fromStep must be an object with the step's stepId")
    name, given = step.get("stepId"), step.get("input")
    if not isinstance(name, str) or not name or "\0" in name:
        raise RequestError("fromStep.stepId must be the id or the name of a step")
    if given is None:
        return RerunOrder(name)
    if not isinstance(given, list):
        raise RequestError('fromStep.input must be an array of the step\'s arguments, such as [7, "express"]')
    return RerunOrder(name, bytes(_members.decode(texts["fromStep"])["input"]).decode())


def _object(body: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The members of a JSON object, and their texts as sent."""
    if not body.strip():
        return {}, {}
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise RequestError("the body must be a JSON object")
    try:
        return values, {name: bytes(text) for name, text in _members.decode(body).items()}
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}") from None
