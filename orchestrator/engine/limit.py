"""Limit: an operator changes a function without a deploy: calls at once, starts within a period, what its waits see.

Whatever is asked for together is one transaction, with a note of each change for the audit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from orchestrator import log
from orchestrator.core.durations import format_duration, parse_duration
from orchestrator.core.function import RateLimit, Throttle
from orchestrator.core.override import Starts, takes_rate_limit
from orchestrator.engine.parts import Parts
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.protocol.function_config import read_function
from orchestrator.protocol.sync_limits import MAX_COUNT, MAX_PERIOD, MIN_PERIOD
from orchestrator.queue.admit import admit
from orchestrator.store import allowances, audit, functions, overrides
from orchestrator.store.allowances import Allowance
from orchestrator.store.database import Connection
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.functions import StoredFunction

_log = log.get(__name__)

#: The largest number an app may declare, and so an operator.
MOST = 1_000_000_000
#: Limits on starts.
Limited = Literal["throttle", "rate_limit"]
STARTS: tuple[Limited, ...] = ("throttle", "rate_limit")
_NOTES = {"throttle": "throttle set", "rate_limit": "rate limit set"}


@dataclass(frozen=True, slots=True)
class LookBack:
    """Let waits take events that came between the run's start and the wait, or not."""

    wanted: bool


@dataclass(frozen=True, slots=True)
class CallsAtOnce:
    """Let a limit on concurrency allow `wanted` calls, or (None) what the app declares.

    `key` is the key of the limit that is meant, where there are several (empty: the one without a key).
    """

    wanted: int | None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class StartsWithin:
    """Let the throttle, or the rate limit, take `wanted` starts within a period, or (None) what the app declares.

    Keys and bursts stay those of the app.  A function that declares none is limited over all its starts.
    """

    of: Limited
    wanted: Starts | None


@dataclass(frozen=True, slots=True)
class _Changed:
    """What one change came to, for the audit, and the pools at which calls wait that may go on now."""

    action: str
    story: Mapping[str, object]
    waiting: Sequence[str] = ()


Change = LookBack | CallsAtOnce | StartsWithin


@undisturbed
def change(parts: Parts, slug: str, changes: Sequence[Change], actor: str | None = None) -> StoredFunction:
    """Change a function as an operator wants, at once, also for calls that wait; it stays through syncs.

    Returns the function.  Raises `NotFoundError` and `RequestError`.
    """
    now = parts.clock.now()
    with parts.database.write() as conn:
        function = _found(conn, slug, lock=True)
        done = [_do(parts, conn, _found(conn, function.slug), wanted, now) for wanted in changes]
        for it in done:
            audit.record(conn, it.action, function.slug, now, actor=actor, data=it.story)
        changed = _found(conn, function.slug)
    for wanted in changes:
        _tell(function.slug, wanted)
    admit(parts.database, parts.announcer, [key for it in done for key in it.waiting], now)
    return changed


def starts_of(name: str, limit: int, period: str) -> Starts:
    """Read what somebody wants of a limit on starts; `name` says where it stood.  Raises `RequestError`."""
    if not 1 <= limit <= MAX_COUNT:
        raise RequestError(f"{name}.limit must be a whole number from 1 to {MAX_COUNT}")
    try:
        wanted = Starts(limit, parse_duration(period))
    except RequestError as error:
        raise RequestError(f"{name}.period: {error.message}") from None
    if not MIN_PERIOD <= wanted.period <= MAX_PERIOD:
        span = f"{format_duration(MIN_PERIOD)} to {format_duration(MAX_PERIOD)}"
        raise RequestError(f"{name}.period must be from {span}, not {format_duration(wanted.period)}")
    return wanted


def set_concurrency(parts: Parts, slug: str, wanted: int | None, key: str | None, actor: str | None = None) -> None:
    """Let a function's limit allow `wanted` calls, or (None) what its app declares (see `CallsAtOnce`).

    A function that declares no limit gets one for all its runs that start from now on.
    """
    change(parts, slug, [CallsAtOnce(wanted, key)], actor)


def _do(parts: Parts, conn: Connection, function: StoredFunction, wanted: Change, now: datetime) -> _Changed:
    match wanted:
        case LookBack():
            functions.set_wait_look_back(conn, function.slug, wanted.wanted)
            story = {"before": function.wait_look_back, "after": wanted.wanted}
            return _Changed("look-back set", story)
        case CallsAtOnce():
            return _set_concurrency(conn, function, wanted)
        case StartsWithin():
            return _set_starts(parts, conn, function, wanted, now)


def _set_concurrency(conn: Connection, function: StoredFunction, change: CallsAtOnce) -> _Changed:
    before = _limit(conn, function, change.key)
    if before is None or function.imposed is not None:
        allowances.impose(conn, function.id, change.wanted)
    else:
        allowances.override(conn, function.id, before.limit_id, change.wanted)
    story = {"before": before.allowed if before is not None else None, "after": change.wanted, "key": change.key}
    waiting = allowances.waiting_pools(conn, function.id, [before.limit_id]) if before is not None else []
    return _Changed("concurrency set", story, waiting)


def _set_starts(
    parts: Parts, conn: Connection, function: StoredFunction, change: StartsWithin, now: datetime
) -> _Changed:
    if change.wanted is not None:
        _check(function, change.of, change.wanted)
    counts = parts.versions.function(conn, function.id, function.version)
    before: Throttle | RateLimit | None = getattr(counts, change.of)
    overrides.save(conn, function.id, replace(overrides.read(function.overrides), **{change.of: change.wanted}), now)
    story = {
        "before": _words(Starts(before.limit, before.period)) if before is not None else None,
        "after": _words(change.wanted) if change.wanted is not None else None,
    }
    return _Changed(_NOTES[change.of], story)


def _check(function: StoredFunction, of: str, wanted: Starts) -> None:
    declared = read_function(json.loads(function.config), "the stored function", ours=True)
    if of == "rate_limit" and not takes_rate_limit(declared):
        raise RequestError(f"function {function.slug}: a rate limit cannot stand beside batches or idempotency")


def _words(starts: Starts) -> str:
    return f"{starts.limit}/{format_duration(starts.period)}"


def _tell(slug: str, done: Change) -> None:
    match done:
        case LookBack():
            _log.info("look-back set", function=slug, look_back=done.wanted)
        case CallsAtOnce():
            _log.info("concurrency set", function=slug, concurrency=done.wanted, key=done.key)
        case StartsWithin():
            after = _words(done.wanted) if done.wanted is not None else None
            _log.info("limit on starts set", function=slug, limit=done.of, starts=after)


def _found(conn: Connection, slug: str, *, lock: bool = False) -> StoredFunction:
    # Databases refuse a zero byte instead of finding nothing.
    function = functions.function(conn, slug, lock=lock) if "\0" not in slug else None
    if function is None:
        raise NotFoundError(f"there is no function {slug[:200]}")
    return function


def _limit(conn: Connection, function: StoredFunction, key: str | None) -> Allowance | None:
    """The limit that is meant; None: the function has none."""
    found = allowances.of_function(conn, function.id)
    chosen = [limit for limit in found if key is None or (limit.key or "") == key]
    if len(chosen) == 1:
        return chosen[0]
    if not found and not key:
        return None
    keys = ", ".join(f'"{limit.key or ""}"' for limit in found) or "none"
    raise RequestError(f"function {function.slug}: say by its key which limit is meant; the keys are {keys}")
