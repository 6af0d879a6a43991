"""Checkpoints: steps that the TypeScript SDK reports from within a call, while the function goes on.

A call that names the function and its dispatch (`fn_id`, `qi_id`) invites them; one that does not is answered step by
step.  The dispatch's id means nothing to the SDK: it is the job and the generation of its lease.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from orchestrator.core.message import DeferAsked, DeferDropped, StepDone
from orchestrator.errors import RequestError, TooLargeError
from orchestrator.protocol.ops import MAX_NAME, MAX_OPS, Circumstances, Refused, WireOp, read_op
from orchestrator.protocol.reply import checked

_DISPATCH = re.compile(r"([0-9]{1,18})-([0-9]{1,9})")
_SDK = re.compile(r"([0-9]{1,6})(?:\.|$)")
_LANGUAGES = ("js", "ts", "typescript", "javascript")
_FIRST_VERSION = 4
_SAVED = ("StepRun", "Step", "DeferAdd", "DeferAbort")
#: Tells that a step begins; what becomes of it is told later.
_BEGINS = "StepPlanned"


Kept = StepDone | DeferAsked | DeferDropped


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The lease under which a call was made."""

    job_id: int
    generation: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Steps done, and functions deferred, within a call that still runs."""

    dispatch: Dispatch
    steps: tuple[Kept, ...]


class _Body(msgspec.Struct, frozen=True):
    qi_id: str
    steps: list[WireOp] | None = None


def sends_checkpoints(language: str | None, version: str | None) -> bool:
    """Tell whether apps on this SDK send checkpoints when they are invited to."""
    major = _SDK.match(version or "")
    return (language or "").lower() in _LANGUAGES and major is not None and int(major[1]) >= _FIRST_VERSION


def dispatch_text(dispatch: Dispatch) -> str:
    """Write the id that a call carries and its checkpoints bring back."""
    return f"{dispatch.job_id}-{dispatch.generation}"


def read_checkpoint(body: bytes, now: datetime) -> Checkpoint:
    """Read a checkpoint.  Raises `RequestError` for the whole of it when it holds anything but steps done."""
    try:
        found = msgspec.json.decode(checked(body.decode()), type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"the checkpoint cannot be read: {error}") from None
    dispatch = _DISPATCH.fullmatch(found.qi_id)
    if dispatch is None:
        raise RequestError("qi_id must be the one that the call came with")
    return Checkpoint(Dispatch(int(dispatch[1]), int(dispatch[2])), _steps(found.steps or [], now))


def only_done(ops: Sequence[WireOp], now: datetime) -> tuple[Kept, ...] | None:
    """The steps of a report that tells of nothing but steps done; None: it tells of more.  Raises `RequestError`."""
    return _steps(ops, now) if all(wire.op in _SAVED for wire in ops) else None


def _steps(ops: Sequence[WireOp], now: datetime) -> tuple[Kept, ...]:
    if len(ops) > MAX_OPS:
        raise RequestError(f"steps has {len(ops)} steps; the limit is {MAX_OPS}")
    done = list[Kept]()
    for wire in ops:
        if wire.op == _BEGINS:
            continue
        if wire.op not in _SAVED:
            raise RequestError(f'steps holds "{wire.op[:MAX_NAME]}"; only steps that are done can be checkpointed')
        step = _step(wire, now)
        if step is not None:
            done.append(step)
    return tuple(done)


def _step(wire: WireOp, now: datetime) -> Kept | None:
    try:
        op = read_op(wire, Circumstances(now, sdk=""))
    except Refused as refused:
        message = msgspec.json.decode(refused.error)["message"]
        raise (RequestError(message) if refused.retryable else TooLargeError(message)) from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RequestError(f"the checkpoint cannot be read: {error}") from None
    assert op is None or isinstance(op, Kept)
    return op
