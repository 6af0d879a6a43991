"""The end of a planned step in the plain case: its outcome is all that its answer tells.

What that means does not depend on what else the run is at, but for whether the function is to be discovered now, and
that the store finds out while it writes (see `store.ends`).  So nothing is read and locked first.
"""

from __future__ import annotations

from datetime import datetime

from orchestrator.core.effect import End, SaveStep, StepStatus
from orchestrator.core.message import Asked, Message
from orchestrator.core.run import Decision, Policy, Run, StepState, advance
from orchestrator.store.jobs import Lease


def plain_end(lease: Lease, run_id: str, message: Message, policy: Policy, now: datetime) -> Decision | None:
    """The decision on the answer of a planned step, whose one effect is to save its outcome; None: it is not so plain.

    It is made as though other steps were still waited for.
    """
    if not isinstance(message, Asked) or message.target is None or message.target != lease.step_id:
        return None
    planned = {message.target: StepState(StepStatus.PLANNED, counted=True)}
    decision = advance(Run(run_id, pending=2, open=2, step_count=2, steps=planned), message, policy, now, chance=0.0)
    match decision.effects, decision.then:
        case (SaveStep(id=message.target) as step,), End() if step.status.done:
            return decision
        case _:
            return None
