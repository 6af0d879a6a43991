"""Limit: an operator sets how many calls a function may make at once, without a deploy."""

from __future__ import annotations

from orchestrator import log
from orchestrator.engine.parts import Parts
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.queue.admit import admit
from orchestrator.store import allowances, audit, functions
from orchestrator.store.allowances import Allowance
from orchestrator.store.database import Connection
from orchestrator.store.functions import StoredFunction

_log = log.get(__name__)

#: The largest number an app may declare, and so an operator.
MOST = 1_000_000_000


def set_concurrency(parts: Parts, slug: str, wanted: int | None, key: str | None, actor: str | None = None) -> None:
    """Let a function's limit allow `wanted` calls, or (None) what its app declares.

    It counts at once, also for calls that wait, and stays through syncs.  `key` is the key of the limit that is meant,
    where there are several (empty: the one without a key).  A function that declares no limit gets one for all its
    runs that start from now on.  Raises `NotFoundError` and `RequestError`.
    """
    now = parts.clock.now()
    with parts.database.write() as conn:
        function = functions.function(conn, slug)
        if function is None:
            raise NotFoundError(f"there is no function {slug[:200]}")
        before = _limit(conn, function, key)
        if before is None or function.imposed is not None:
            allowances.impose(conn, function.id, wanted)
        else:
            allowances.override(conn, function.id, before.limit_id, wanted)
        story = {"before": before.allowed if before is not None else None, "after": wanted, "key": key}
        audit.record(conn, "concurrency set", function.slug, now, actor=actor, data=story)
        waiting = allowances.waiting_pools(conn, function.id, [before.limit_id]) if before is not None else []
    _log.info("concurrency set", function=function.slug, concurrency=wanted, key=key)
    admit(parts.database, parts.announcer, waiting, now)


def _limit(conn: Connection, function: StoredFunction, key: str | None) -> Allowance | None:
    """The limit that is meant; None: the function has none."""
    found = allowances.of_function(conn, function.id)
    chosen = [limit for limit in found if key is None or (limit.key or "") == key]
    if len(chosen) == 1:
        return chosen[0]
    if not found and key is None:
        return None
    keys = ", ".join(f'"{limit.key or ""}"' for limit in found) or "none"
    raise RequestError(f"function {function.slug}: say by its key which limit is meant; the keys are {keys}")
