"""Start what a run has deferred, once it has ended by itself: one event for each, in the transaction of the end."""

from __future__ import annotations

from datetime import datetime

import msgspec

from orchestrator.core.effect import Finish, SaveStep, Status, StepStatus
from orchestrator.core.event import Event, deferred_event
from orchestrator.core.run import Decision, Run, has_deferred
from orchestrator.ids import new_ulid
from orchestrator.store import functions, steps
from orchestrator.store.database import Connection
from orchestrator.store.runs import Loaded

#: Of one run; what is deferred beyond it is never started.
MOST_DEFERRED = 20


class _Deferred(msgspec.Struct, frozen=True):
    function: str
    data: msgspec.Raw


def deferred_by(
    conn: Connection, loaded: Loaded, decision: Decision, now: datetime, known: Run | None = None
) -> list[Event]:
    """The events that start what was deferred, if the decision ends the run; none for one that is cancelled.

    `known` is the run with all of its steps, where somebody has it.
    """
    finish = next((effect for effect in decision.effects if isinstance(effect, Finish)), None)
    if finish is None or finish.status is Status.CANCELLED:
        return []
    inputs = dict[str, str]()
    if known is None or has_deferred(known):
        inputs |= steps.deferred(conn, loaded.run.id, MOST_DEFERRED)
    for effect in decision.effects:
        if isinstance(effect, SaveStep) and effect.status is StepStatus.DEFERRED:
            inputs[effect.id] = effect.input or "{}"
        elif isinstance(effect, SaveStep) and effect.status is StepStatus.DROPPED:
            inputs.pop(effect.id, None)
    if not inputs:
        return []
    function = functions.function(conn, loaded.run.function_id)
    about = {
        "parent_app_id": function.app_id if function is not None else "",
        "parent_fn_id": loaded.run.function_id,
        "parent_fn_slug": loaded.slug,
        "parent_run_id": loaded.run.id,
    }
    return [_event(loaded.run.id, step_id, text, about, now) for step_id, text in list(inputs.items())[:MOST_DEFERRED]]


def _event(run_id: str, step_id: str, text: str, about: dict[str, str], now: datetime) -> Event:
    deferred = msgspec.json.decode(text, type=_Deferred)
    data = bytes(deferred.data).decode()
    return deferred_event(deferred.function, data, about, f"{run_id}.{step_id}", now, new_ulid())
