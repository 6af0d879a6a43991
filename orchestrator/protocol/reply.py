"""An app's answer to a call, whatever it is, as a message for the run machine.  Nothing an app sends raises here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import msgspec

from orchestrator.core.message import Asked, Op, Returned, StepErrored, Threw
from orchestrator.core.retry import RETRY_AFTER_MAX
from orchestrator.errors import RequestError
from orchestrator.protocol import headers as names
from orchestrator.protocol import run_errors
from orchestrator.protocol.ops import (
    COMPLETE_ID,
    MAX_OPS,
    RUN_COMPLETE,
    Circumstances,
    Refused,
    WireOp,
    read_op,
    value_text,
)

_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]+)?")
_VERSION = re.compile(r"-?[0-9]{1,4}")
# JavaScript can write half a surrogate pair (a cut emoji), which is JSON by its grammar and text by nobody's.
_ESCAPES = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)")
# Bytes that are no UTF-8 travel as lone surrogates, which no decoder of JSON takes.
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeEncodeError)
_MAX_SDK = 100
#: What drivers call it.
_TOO_LARGE = "response_too_large"
_UNWRAPPED = 201


@dataclass(frozen=True, slots=True)
class Parsed:
    """What the answer means, and what it says about the app."""

    reply: Returned | Threw | Asked
    request_version: int | None = None
    sdk: str | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: str


class _Wrapper(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, object] | None = None
    body: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


def parse_reply(
    status: int, headers: Mapping[str, str], body: bytes, *, target: str | None, attempt: int, now: datetime
) -> Parsed:
    """Read an answer; header names are lower case.  What is malformed becomes a `Threw` with a sentence."""
    answer = _Answer(status, headers, body.decode(errors="surrogateescape"))
    try:
        if status == _UNWRAPPED:
            answer = _unwrapped(answer)
        reply = _reply(answer, target, attempt, now)
    except Refused as refused:
        reply = Threw(target, attempt, refused.error, refused.retryable)
    except _UNREADABLE as error:
        message = f"the app's answer (HTTP {answer.status}) cannot be read: {error}"
        reply = Threw(target, attempt, run_errors.error_text(run_errors.INVALID_ANSWER, message), retryable=True)
    sdk = answer.headers.get(names.SDK, "")[:_MAX_SDK] or None
    return Parsed(reply, _request_version(answer.headers), sdk)


def parse_ops(ops: Sequence[WireOp], now: datetime) -> Returned | Threw | Asked:
    """Read ops that were reported otherwise than by answering a call; none of them belongs to a planned step's call."""
    try:
        return _meaning(ops, Circumstances(now, sdk=""), None, 0)
    except Refused as refused:
        return Threw(None, 0, refused.error, refused.retryable)
    except _UNREADABLE as error:
        raise RequestError(f"the report cannot be read: {error}") from None


def transport_failure(code: str, sentence: str, target: str | None, attempt: int) -> Threw:
    """Say that no whole answer came; an attempt like any other, unless it was too large to come."""
    too_large = code == _TOO_LARGE
    name = run_errors.ANSWER_TOO_LARGE if too_large else run_errors.APP_UNREACHABLE
    return Threw(target, attempt, run_errors.error_text(name, sentence, code), retryable=not too_large)


def checked(body: str) -> str:
    """Make sure that the text is JSON that every reader takes; the text itself stays as it is wherever it can."""
    text = body.strip(" \t\r\n") or "null"
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError:
        if "\\u" not in text:
            raise
        text = _ESCAPES.sub(_whole, text)
        msgspec.json.decode(text, type=msgspec.Raw)
    return text


def _reply(answer: _Answer, target: str | None, attempt: int, now: datetime) -> Returned | Threw | Asked:
    if not names.is_sdk_answer(answer.headers):
        return transport_failure(*_no_sdk(answer), target, attempt)
    if answer.status == 200:
        return Returned(target, attempt, checked(answer.body))
    if answer.status == 206:
        return _asked(answer, target, attempt, now)
    no_retry, retry_after = _no_retry(answer.headers), _retry_after(answer.headers, now)
    return Threw(target, attempt, run_errors.error_object(_error_body(answer.body)), not no_retry, retry_after)


def _asked(answer: _Answer, target: str | None, attempt: int, now: datetime) -> Returned | Threw | Asked:
    sdk = answer.headers[names.SDK][:_MAX_SDK]
    after = _retry_after(answer.headers, now)
    circumstances = Circumstances(now, sdk, _no_retry(answer.headers), after)
    return _meaning(_wire_ops(answer.body), circumstances, target, attempt)


def _meaning(
    wires: Sequence[WireOp], circumstances: Circumstances, target: str | None, attempt: int
) -> Returned | Threw | Asked:
    ops = list[Op]()
    for wire in wires:
        if wire.op == RUN_COMPLETE:
            return Returned(target, attempt, value_text(wire.data), tuple(ops))
        op = read_op(wire, circumstances)
        if isinstance(op, StepErrored) and op.id == COMPLETE_ID and target is None:
            return Threw(target, attempt, op.error, not op.final, op.retry_after, ops=tuple(ops))
        if op is not None:
            ops.append(op)
    return Asked(target, attempt, tuple(ops))


def _wire_ops(body: str) -> list[WireOp]:
    text = checked(body)
    if text.startswith("{"):
        return [msgspec.json.decode(text, type=WireOp)]
    ops = msgspec.json.decode(text, type=list[WireOp] | None) or []
    if len(ops) > MAX_OPS:
        message = f"the app reported {len(ops)} steps at once, more than the limit of {MAX_OPS}"
        raise Refused(run_errors.FUNCTION_OVERFLOWED, message, retryable=False)
    return ops


def _error_body(text: str) -> str:
    try:
        return checked(text)
    except _UNREADABLE:
        return text.encode(errors="replace").decode()


def _whole(escape: re.Match[str]) -> str:
    text = escape.group()
    return "\\ufffd" if len(text) == 6 else text


def _unwrapped(answer: _Answer) -> _Answer:
    """Open the envelope in which SDKs answer when they had to answer before they knew what."""
    try:
        wrapper = msgspec.json.decode(checked(answer.body), type=_Wrapper)
    except _UNREADABLE as error:
        if not names.is_sdk_answer(answer.headers):
            return answer
        raise Refused(run_errors.INVALID_ANSWER, f"the app's streamed answer cannot be read: {error}", True) from None
    inner = {name.lower(): str(value) for name, value in (wrapper.headers or {}).items() if value is not None}
    headers = {**answer.headers, **inner}
    if value_text(wrapper.error) != "null":
        return _Answer(500, headers, value_text(wrapper.error))
    return _Answer(wrapper.status, headers, _inner_body(wrapper))


def _inner_body(wrapper: _Wrapper) -> str:
    text = value_text(wrapper.body)
    if not text.startswith('"'):
        return text
    inner = msgspec.json.decode(text, type=str)
    if wrapper.status != 200:
        return inner
    try:
        return checked(inner)
    except _UNREADABLE:
        return text  # A result that is a text, sent as such.


def _no_sdk(answer: _Answer) -> tuple[str, str]:
    status = answer.status
    if status == 401 and names.handled_by_sdk(answer.headers):
        return "unauthorized", "the app refused the signature (HTTP 401): do both sides have the same signing key?"
    if 200 <= status < 300:
        return "not_sdk", f"what answered (HTTP {status}) is not an app on an SDK: it sent no {names.SDK} header"
    return "http_error", f"the app answered HTTP {status} before its SDK"


def _no_retry(headers: Mapping[str, str]) -> bool:
    return headers.get(names.NO_RETRY, "").strip().lower() == "true"


def _retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    text = headers.get(names.RETRY_AFTER, "").strip()
    if _SECONDS.fullmatch(text):
        return min(timedelta(seconds=float(text)), RETRY_AFTER_MAX)
    moment = _moment(text)
    return None if moment is None else min(max(moment - now, timedelta()), RETRY_AFTER_MAX)


def _moment(text: str) -> datetime | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _request_version(headers: Mapping[str, str]) -> int | None:
    text = headers.get(names.REQUEST_VERSION, "").strip()
    return int(text) if _VERSION.fullmatch(text) else None
