"""Read a run's trace, and what its spans have come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from orchestrator.core.spans import Span, SpanPlace
from orchestrator.core.trace import tree
from orchestrator.errors import ExpressionError
from orchestrator.expressions.stored import value_of
from orchestrator.ids import is_ulid
from orchestrator.store import batches, events, runs, traces
from orchestrator.store.database import Connection
from orchestrator.store.traces import MOST, SpanTexts

#: The memo of this op is the event itself, not an object with `data` or `error` around the outcome.
_BARE_MEMO = "WaitForEvent"
#: What is kept of these is about the request, and shown as the span's `info`.
_ASKING = frozenset({"WaitForEvent", "WaitForSignal", "InvokeFunction"})
_DATA = '{"data":'


@dataclass(frozen=True, slots=True)
class Trace:
    """A run's trace; `truncated` says that the run has more steps than it shows."""

    root: Span
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class SpanError:
    """An error as its SDK sent it."""

    name: str | None
    message: str
    stack: str | None = None
    #: JSON text.
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class SpanOutput:
    """What a span has come to: `data` and `input` are JSON texts, `error` is there where it failed."""

    data: str | None = None
    input: str | None = None
    error: SpanError | None = None


def trace(conn: Connection, run_id: str, most: int = MOST) -> Trace | None:
    """The trace of a run, with `most` of its steps at most; None: there is no such run."""
    traced = traces.read(conn, run_id, most)
    return Trace(tree(traced), traced.truncated) if traced is not None else None


def span_output(conn: Connection, output_id: str) -> SpanOutput | None:
    """What a span has come to, by its `output_id`; None: there is no such span."""
    place = SpanPlace.decode(output_id)
    if place is None or not is_ulid(place.run_id):
        return None
    if place.entry is not None:
        return _of_attempt(traces.attempt_texts(conn, place.run_id, place.entry))
    if place.step_id is not None:
        return _of_step(traces.step_texts(conn, place.run_id, place.step_id))
    return _of_run(conn, place.run_id)


def _of_run(conn: Connection, run_id: str) -> SpanOutput | None:
    texts, run = traces.run_texts(conn, run_id), runs.get(conn, run_id)
    if texts is None or run is None:
        return None
    payloads = batches.payloads(conn, run.batch_id) if run.batch_id is not None else ()
    if not payloads:
        event = events.get(conn, run.event_id)
        payloads = (event.payload,) if event is not None else ()
    given = f"[{','.join(payloads)}]"
    return SpanOutput(texts.output, given, _error(texts.error) if texts.error is not None else None)


def _of_step(texts: SpanTexts | None) -> SpanOutput | None:
    if texts is None:
        return None
    given = texts.input if texts.op not in _ASKING else None
    if texts.error is not None:
        return SpanOutput(None, given, _error(texts.error))
    return SpanOutput(_data(texts), given)


def _of_attempt(texts: SpanTexts | None) -> SpanOutput | None:
    if texts is None:
        return None
    return SpanOutput(error=_error_of(_loaded(texts.story).get("error")))


def _data(texts: SpanTexts) -> str | None:
    memo = texts.memo
    if memo is not None and texts.op != _BARE_MEMO and memo.startswith(_DATA):
        return memo[len(_DATA) : -1]
    return memo


def _error(text: str) -> SpanError:
    return _error_of(_loaded(text))


def _error_of(value: Any) -> SpanError:
    if not isinstance(value, Mapping):
        return SpanError(None, str(value))
    name, message, stack = (_text(value.get(key)) for key in ("name", "message", "stack"))
    cause = value.get("cause")
    return SpanError(name, message or "", stack, orjson.dumps(cause).decode() if cause is not None else None)


def _loaded(text: str | None) -> Any:
    try:
        return value_of(text or "{}")
    except ExpressionError:
        return {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
