"""Why a run does not go on right now, as a sentence for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import takewhile

import orjson

from orchestrator.api.render import moment
from orchestrator.core.effect import Status, StepStatus
from orchestrator.protocol import gateway
from orchestrator.protocol.run_errors import APP_UNREACHABLE
from orchestrator.sdk.execution import TASK
from orchestrator.sdk.tasks import read
from orchestrator.store.events import StoredEvent
from orchestrator.store.history import Entry
from orchestrator.store.runs import StoredRun
from orchestrator.store.steps import StoredStep

_MOST = 3


def waiting_for(
    run: StoredRun, event: StoredEvent | None, steps: Sequence[StoredStep], story: Sequence[Entry], now: datetime
) -> str | None:
    """Say what a live run waits for; None: it is over, or at work."""
    if run.status.final:
        return None
    if run.status is Status.QUEUED:
        return _not_begun(event, now)
    reasons = [*_retries(steps, story, now), *_open_steps(steps)]
    more = len(reasons) - _MOST
    told = "; ".join(reasons[:_MOST])
    return f"{told}; and {more} more" if more > 0 else told or None


def _not_begun(event: StoredEvent | None, now: datetime) -> str:
    if event is not None and event.ts > now.timestamp() * 1000:
        return f"its event is dated {moment(datetime.fromtimestamp(event.ts / 1000, UTC))}, and it starts then"
    return "its first call has not begun yet"


def _retries(steps: Sequence[StoredStep], story: Sequence[Entry], now: datetime) -> Iterator[str]:
    """What failed and will be tried again later; of each step, and of the function itself, only the last try counts."""
    last = {entry.step_id: entry for entry in story if entry.kind == "attempt failed"}
    names = {step.id: step.name for step in steps if not step.status.done}
    for step_id, entry in last.items():
        at = datetime.fromisoformat(orjson.loads(entry.data or "{}").get("next_at", now.isoformat()))
        if at > now and (step_id is None or step_id in names):
            what = "the function" if step_id is None else f'step "{names[step_id]}"'
            down = _down_since([it for it in story if it.kind == "attempt failed" and it.step_id == step_id])
            why = f"; the app could not be reached since {moment(down)}" if down is not None else ""
            yield f"{what} failed (attempt {(entry.attempt or 0) + 1}) and is tried again at {moment(at)}{why}"


def _down_since(failed: Sequence[Entry]) -> datetime | None:
    """Since when the app has not been reached by one attempt after another; None: the last one reached it."""
    unreached = takewhile(lambda entry: _error_name(entry) == APP_UNREACHABLE, reversed(failed))
    return min((entry.at for entry in unreached), default=None)


def _error_name(entry: Entry) -> str | None:
    error = orjson.loads(entry.data or "{}").get("error")
    return error.get("name") if isinstance(error, dict) else None


def _open_steps(steps: Sequence[StoredStep]) -> Iterator[str]:
    for step in steps:
        if step.status is StepStatus.SLEEPING:
            yield f'step "{step.name}" sleeps until {moment(step.wake_at)}'
        elif step.status is StepStatus.WAITING:
            yield f'step "{step.name}" waits to be resumed ({step.op})'
        elif step.status is StepStatus.PLANNED and step.op in (gateway.FETCH, gateway.AI) and step.error is None:
            yield f'step "{step.name}" waits for the answer to a request ({step.op})'
        elif step.status is StepStatus.PLANNED and step.op == TASK and step.error is None:
            yield f'step "{step.name}" waits for the Celery task {read(step.input or "{}").task}'
