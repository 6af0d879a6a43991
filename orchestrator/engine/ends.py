"""The end of an open step in the plain case: its outcome is all that the message tells.

What that means does not depend on what else the run is at, but for whether the function is to be discovered now, and
that the store finds out while it writes (see `store.ends`).  So nothing is read and locked first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.effect import ClosePause, End, SaveStep, StepStatus
from orchestrator.core.message import Asked, Message, Resumed, Woke
from orchestrator.core.run import Decision, Policy, Run, StepState, advance
from orchestrator.engine.branch import Branch
from orchestrator.store.apply import Applied, Holder
from orchestrator.store.ends import StepEnd
from orchestrator.store.jobs import Lease


@dataclass(frozen=True, slots=True)
class PlainEnd:
    """A decision whose one effect is the outcome of an open step."""

    decision: Decision
    step: SaveStep
    was: StepStatus

    def by(self, lease: Lease, by: Holder) -> StepEnd:
        """The end as the store takes it."""
        return StepEnd(lease, self.step, by, self.was)


def plain_end(lease: Lease, run_id: str, message: Message, policy: Policy, now: datetime) -> PlainEnd | None:
    """The decision on a message by the job of an open step; None: there is more to it than that step's outcome.

    It is made as though other steps were still waited for.
    """
    match message:
        case Asked(target=str(step_id)):
            was = StepStatus.PLANNED
        case Woke(step_id):
            was = StepStatus.SLEEPING
        case Resumed(step_id):
            was = StepStatus.WAITING
        case _:
            return None
    if step_id != lease.step_id:
        return None
    others = Run(run_id, pending=2, open=2, step_count=2, steps={step_id: StepState(was, counted=True)})
    decision = advance(others, message, policy, now, chance=0.0)
    match decision.effects, decision.then:
        case (SaveStep() as step, *rest), End() if step.id == step_id and step.status.done and _is_plain(rest):
            return PlainEnd(decision, step, was)
        case _:
            return None


def _is_plain(rest: Sequence[object]) -> bool:
    return all(isinstance(effect, ClosePause) for effect in rest)


def follows(branch: Branch, decision: Decision, applied: Applied) -> bool:
    """Let a run that was read before the end of its one open step follow it; False: others were at work meanwhile."""
    if branch.run.open != 1 or applied.open != 0 or applied.last_seq != branch.run.last_seq + 1:
        return False
    branch.close(next(effect for effect in decision.effects if isinstance(effect, SaveStep)))
    return True
