"""What the tests of the run machine share: messages, a policy, and how to let it decide."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orchestrator.core.effect import SaveStep, StepStatus
from orchestrator.core.message import (
    Asked,
    DeferAsked,
    DeferDropped,
    Expired,
    InvokeAsked,
    Op,
    SignalAsked,
    SleepAsked,
    StepDone,
    StepErrored,
    StepPlanned,
    WaitAsked,
)
from orchestrator.core.run import Decision, Policy, Run, StepState, advance

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy(max_attempts=3, max_steps=100)
ERROR = '{"name":"Error","message":"no"}'
LATE = Expired("finish", timedelta(minutes=5))


def done(step: str, output: str = "1") -> StepDone:
    return StepDone(step, step.upper(), "StepRun", output)


def errored(step: str, *, final: bool = False, after: timedelta | None = None) -> StepErrored:
    return StepErrored(step, step.upper(), "StepError", ERROR, final, after)


def planned(step: str, *, race: bool = False) -> StepPlanned:
    return StepPlanned(step, step.upper(), "StepPlanned", race)


def sleep(step: str, seconds: int = 10) -> SleepAsked:
    return SleepAsked(step, step.upper(), "Sleep", NOW + timedelta(seconds=seconds))


def asked(*ops: Op, target: str | None = None, attempt: int = 0) -> Asked:
    return Asked(target, attempt, ops)


def decide(run: Run, message, policy: Policy = POLICY) -> Decision:
    return advance(run, message, policy, NOW, chance=0.0)


def saved(decision: Decision) -> dict[str, StepStatus]:
    return {effect.id: effect.status for effect in decision.effects if isinstance(effect, SaveStep)}


def with_steps(pending: int = 0, **steps: StepStatus) -> Run:
    states = {name: StepState(status, counted=status is StepStatus.PLANNED) for name, status in steps.items()}
    opened = sum(state.status.open for state in states.values())
    return Run("r", pending=pending, open=opened, step_count=len(states), steps=states)


def asks() -> list[WaitAsked | InvokeAsked | SignalAsked]:
    until = NOW + timedelta(hours=1)
    return [
        WaitAsked("a", "A", "WaitForEvent", "shop/paid", until, "async.data.n == 1"),
        InvokeAsked("a", "A", "InvokeFunction", "shop-pay", "{}", until),
        SignalAsked("a", "A", "WaitForSignal", "go", until),
    ]


LATER = DeferAsked("l", "L", "DeferAdd", "app-later", '{"n":1}')
NEVER = DeferDropped("n", "N", "DeferAbort", "l")
