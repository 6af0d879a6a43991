"""Signal: give the one run that waits for a signal its data."""

from __future__ import annotations

import json

from orchestrator import log
from orchestrator.engine.parts import Parts
from orchestrator.errors import NotFoundError, TooLargeError
from orchestrator.protocol.ops import MAX_STEP_VALUE
from orchestrator.store import pauses
from orchestrator.store.apply import add_resume
from orchestrator.store.disturbance import undisturbed

_log = log.get(__name__)


@undisturbed
def signal(parts: Parts, name: str, data: str) -> str:
    """Resume the run that waits for a signal with `data` (JSON text); returns its id.  Raises `NotFoundError`.

    Raises `TooLargeError` for more than a step may hold.
    """
    size = len(data.encode())
    if size > MAX_STEP_VALUE:
        raise TooLargeError(f"data has {size} bytes; the limit is {MAX_STEP_VALUE} bytes (4 MiB)")
    memo = f'{{"data":{{"signal":{json.dumps(name, ensure_ascii=False)},"data":{data}}}}}'
    now = parts.clock.now()
    with parts.database.write() as conn:
        waiter = pauses.take_signal(conn, name)
        if waiter is None:
            raise NotFoundError("No signal found")
        hint = add_resume(conn, waiter.id, waiter.run_id, waiter.step_id, {"memo": memo}, now)
    parts.announcer.announce([hint])
    _log.info("signal received", signal=name, run_id=waiter.run_id)
    return waiter.run_id
