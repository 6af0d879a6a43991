"""Hold a function: while it is paused it starts no runs; those that have begun go on.

Events that would start it are kept as skipped runs, which can be looked at and started again by hand.  Runs that were
admitted before the pause and have not begun are held where they are, and begin when the function is resumed.
"""

from __future__ import annotations

from orchestrator import log
from orchestrator.engine.parts import Parts
from orchestrator.errors import NotFoundError
from orchestrator.store import audit, functions, held
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.functions import StoredFunction

_log = log.get(__name__)


@undisturbed
def pause(parts: Parts, slug: str, actor: str | None = None) -> StoredFunction:
    """Let a function start no runs; one that is paused stays so.  Raises `NotFoundError`."""
    now = parts.clock.now()
    with parts.database.write() as conn:
        changed = functions.set_paused(conn, slug, now)
        found = _found(functions.function(conn, slug), slug)
        if changed:
            audit.record(conn, "function paused", found.slug, now, actor=actor)
    if changed:
        _log.info("function paused", function=found.slug)
    return found


@undisturbed
def resume(parts: Parts, slug: str, actor: str | None = None) -> StoredFunction:
    """Let a paused function start runs again, those first that it was to start before.  Raises `NotFoundError`."""
    now = parts.clock.now()
    with parts.database.write() as conn:
        changed = functions.set_paused(conn, slug, None)
        found = _found(functions.function(conn, slug), slug)
        hints = held.let_go(conn, found.id, now) if changed else []
        if changed:
            audit.record(conn, "function resumed", found.slug, now, actor=actor)
    parts.announcer.announce(hints)
    if changed:
        _log.info("function resumed", function=found.slug)
    return found


def _found(function: StoredFunction | None, slug: str) -> StoredFunction:
    if function is None:
        raise NotFoundError(f"there is no function {slug[:200]}")
    return function
