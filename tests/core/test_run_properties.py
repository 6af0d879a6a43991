"""The run machine under doubled, late, shuffled and missing messages: properties that no order may break.

`World` is the smallest store there could be: it keeps what decisions write and the messages that are still to come, and
delivers them in whatever order hypothesis likes, as often as it likes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.effect import AddCall, AddWake, Discover, End, Finish, OpenPause, Retry, SaveStep, StepStatus
from orchestrator.core.message import (
    Asked,
    Message,
    Op,
    Resumed,
    Returned,
    SignalAsked,
    SleepAsked,
    StepDone,
    StepErrored,
    StepPlanned,
    Threw,
    TimedOut,
    WaitAsked,
    Woke,
)
from orchestrator.core.run import Decision, Policy, Run, advance

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy(max_attempts=3)
NAMES = ["a", "b", "c", "d"]


@dataclass
class World:
    """A run, and everything that was ever written about it."""

    run: Run = field(default_factory=lambda: Run("r"))
    outcomes: dict[str, str] = field(default_factory=dict)
    finishes: int = 0
    changed_outcomes: int = 0

    def apply(self, message: Message) -> Decision:
        decision = advance(self.run, message, POLICY, NOW, 0.5)
        for effect in decision.effects:
            if isinstance(effect, SaveStep) and effect.memo is not None:
                self.changed_outcomes += effect.id in self.outcomes
                self.outcomes[effect.id] = effect.memo
            self.finishes += isinstance(effect, Finish)
        self.run = replace(decision.run, steps={**self.run.steps, **decision.steps})
        return decision


@st.composite
def ops(draw: st.DrawFn) -> Op:
    step = draw(st.sampled_from(NAMES))
    return draw(
        st.sampled_from(
            [
                StepDone(step, step, "StepRun", str(draw(st.integers(0, 3)))),
                StepErrored(step, step, "StepError", '{"name":"E","message":"m"}', draw(st.booleans())),
                StepPlanned(step, step, "StepPlanned", draw(st.booleans())),
                SleepAsked(step, step, "Sleep", NOW + timedelta(seconds=5)),
                WaitAsked(step, step, "WaitForEvent", "e", NOW + timedelta(seconds=5)),
                SignalAsked(step, step, "WaitForSignal", "s", NOW + timedelta(seconds=5)),
            ]
        )
    )


@st.composite
def messages(draw: st.DrawFn) -> Message:
    target = draw(st.one_of(st.none(), st.sampled_from(NAMES)))
    attempt = draw(st.integers(0, 3))
    return draw(
        st.sampled_from(
            [
                Asked(target, attempt, tuple(draw(st.lists(ops(), max_size=3)))),
                Returned(None, attempt, "1"),
                Threw(target, attempt, '{"name":"E","message":"m"}', draw(st.booleans())),
                Woke(draw(st.sampled_from(NAMES))),
                Resumed(draw(st.sampled_from(NAMES)), "1", draw(st.sampled_from([None, '{"name":"E","message":"m"}']))),
                TimedOut(draw(st.sampled_from(NAMES))),
            ]
        )
    )


histories = st.lists(messages(), max_size=12)


@given(histories)
def test_a_run_finishes_at_most_once_and_nothing_is_written_after(history):
    world = World()

    for message in history:
        over = world.run.status.final
        decision = world.apply(message)
        assert not (over and decision.effects)

    assert world.finishes <= 1


@given(histories)
def test_an_outcome_once_memoised_never_changes(history):
    world = World()

    for message in history:
        world.apply(message)

    assert 0 == world.changed_outcomes


@given(histories)
def test_counts_are_what_the_steps_say(history):
    world = World()

    for message in history:
        world.apply(message)
        steps = world.run.steps.values()
        assert sum(step.status.open for step in steps) == world.run.open
        assert sum(step.counted for step in steps if step.status is StepStatus.PLANNED) == world.run.pending
        assert len(world.run.steps) == world.run.step_count


@given(histories)
def test_a_timer_or_an_end_delivered_twice_is_as_good_as_once(history):
    once, doubled = World(), World()

    for message in history:
        once.apply(message)
        doubled.apply(message)
        if isinstance(message, Woke | Resumed | TimedOut | Returned):
            assert () == doubled.apply(message).effects

    assert (once.outcomes, once.run) == (doubled.outcomes, doubled.run)


@dataclass
class Jobs:
    """A run with the jobs its decisions made, driven by an app that has a fixed plan of groups of steps."""

    groups: list[list[str]]
    fails: dict[str, int]
    world: World = field(default_factory=World)
    jobs: set[tuple[str, str | None, int]] = field(default_factory=lambda: {("call", None, 0)})
    again: bool = False
    bodies: dict[str, int] = field(default_factory=dict)

    def turn(self, job: tuple[str, str | None, int]) -> None:
        kind, step, attempt = job
        self.jobs.discard(job)
        message = self.message(kind, step, attempt)
        decision = self.world.apply(message)
        if isinstance(decision.then, Retry):
            self.jobs.add((kind, step, decision.then.attempt))
        elif not isinstance(decision.then, End) or (step is None and self.again):
            self.again = False
            self.jobs.add(("call", None, 0))
        for effect in decision.effects:
            match effect:
                case AddCall(step_id):
                    self.jobs.add(("call", step_id, 0))
                case AddWake(step_id, _):
                    self.jobs.add(("wake", step_id, 0))
                case OpenPause(ask):
                    self.jobs |= {("hit", ask.id, 0), ("timeout", ask.id, 0)}
                case Discover():
                    self.discover()
        if self.world.run.status.final:
            self.jobs.clear()

    def message(self, kind: str, step: str | None, attempt: int) -> Message:
        match kind:
            case "wake":
                return Woke(step or "")
            case "hit":
                return Resumed(step or "", '{"name":"e"}')
            case "timeout":
                return TimedOut(step or "")
            case _:
                return self.app(step, attempt)

    def discover(self) -> None:
        if any(kind == "call" and step is None for kind, step, _ in self.jobs):
            self.again = True
        else:
            self.jobs.add(("call", None, 0))

    def app(self, step: str | None, attempt: int) -> Message:
        if step is not None:
            return Asked(step, attempt, (self.body(step),))
        for group in self.groups:
            missing = [name for name in group if name not in self.world.outcomes]
            if missing:
                return self.group(group, missing, attempt)
        return Returned(None, attempt, "1")

    def group(self, group: list[str], missing: list[str], attempt: int) -> Asked:
        if len(group) == 1 and not self.world.run.open and group[0][0] not in "wz":
            return Asked(None, attempt, (self.body(group[0]),))
        return Asked(None, attempt, tuple(self.op(name) for name in missing))

    def op(self, name: str) -> Op:
        if name.startswith("z"):
            return SleepAsked(name, name, "Sleep", NOW)
        if name.startswith("w"):
            return WaitAsked(name, name, "WaitForEvent", "e", NOW)
        return StepPlanned(name, name, "StepPlanned")

    def body(self, name: str) -> Op:
        if self.fails.get(name, 0):
            self.fails[name] -= 1
            return StepErrored(name, name, "StepError", '{"name":"E","message":"m"}', final=False)
        self.bodies[name] = self.bodies.get(name, 0) + 1
        return StepDone(name, name, "StepRun", "1")


plans = st.lists(st.lists(st.sampled_from("abcdefgwz"), min_size=1, max_size=4), max_size=4)


@settings(max_examples=300)
@given(plans, st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 4)), st.data())
def test_whatever_the_order_of_the_jobs_every_run_ends_and_no_step_runs_twice(plan, fails, data):
    """Each name is one step of the plan; a step that fails more often than it may is memoised as failed."""
    groups = [[f"{name}{at}.{i}" for i, name in enumerate(group)] for at, group in enumerate(plan)]
    left = {name: fails.get(name[0], 0) for group in groups for name in group}
    world = Jobs(groups, left)

    for _ in range(500):
        if not world.jobs:
            break
        world.turn(data.draw(st.sampled_from(sorted(world.jobs, key=str))))

    assert world.world.run.status.final
    assert {name for group in groups for name in group} == set(world.world.outcomes)
    assert all(count == 1 for count in world.bodies.values())
