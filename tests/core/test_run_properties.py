"""The run machine under doubled, late, shuffled and missing messages: properties that no order may break.

`World` is the smallest store there could be: it keeps what decisions write and the messages that are still to come, and
delivers them in whatever order hypothesis likes, as often as it likes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.effect import (
    AddCall,
    AddFetch,
    AddWake,
    Continue,
    Discover,
    Finish,
    OpenPause,
    Retry,
    SaveStep,
    Status,
    StepStatus,
)
from orchestrator.core.message import (
    Asked,
    Cancelled,
    Checkpointed,
    FetchAsked,
    InvokeAsked,
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
ERROR = '{"name":"E","message":"m"}'


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
                StepErrored(step, step, "StepError", ERROR, draw(st.booleans())),
                StepPlanned(step, step, "StepPlanned", draw(st.booleans())),
                SleepAsked(step, step, "Sleep", NOW + timedelta(seconds=5)),
                WaitAsked(step, step, "WaitForEvent", "e", NOW + timedelta(seconds=5)),
                SignalAsked(step, step, "WaitForSignal", "s", NOW + timedelta(seconds=5)),
                InvokeAsked(step, step, "InvokeFunction", "f", "{}", NOW + timedelta(seconds=5)),
                FetchAsked(step, step, "Gateway", "{}"),
            ]
        )
    )


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Mostly answers of the app: what ends the run hides all that comes after it."""
    step, attempt = draw(st.sampled_from(NAMES)), draw(st.integers(0, 3))
    error = draw(st.sampled_from([None, ERROR]))
    match draw(st.sampled_from(["asked"] * 12 + ["woke", "resumed", "timed out", "checkpointed"] * 2 + ["end"])):
        case "asked":
            target = draw(st.sampled_from([None, step]))
            return Asked(target, attempt, tuple(draw(st.lists(ops(), max_size=3))))
        case "woke":
            return Woke(step)
        case "resumed":
            return Resumed(step, "1", error)
        case "timed out":
            return TimedOut(step, error)
        case "checkpointed":
            return Checkpointed(None, attempt, (StepDone(step, step, "StepRun", "1"),))
        case _:
            target = draw(st.sampled_from([None, step]))
            ends = [Returned(None, attempt, "1"), Threw(target, attempt, ERROR, error is None), Cancelled("somebody")]
            return draw(st.sampled_from(ends))


histories = st.lists(messages(), max_size=16)


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
        if isinstance(message, Woke | Resumed | TimedOut | Returned | Checkpointed | Cancelled):
            assert () == doubled.apply(message).effects

    assert (once.outcomes, once.run) == (doubled.outcomes, doubled.run)


# A whole run, with an app that has a plan and a network that loses, doubles and delays.

#: Kind, step, attempt.
Job = tuple[str, str | None, int]
KINDS = "abcdefgwzix"
DISCOVERY: tuple[str, None] = ("call", None)


@dataclass(frozen=True)
class Group:
    """Steps that the app asks for together; it goes on after all of them, or after the first of a race."""

    names: tuple[str, ...]
    race: bool

    def is_over(self, outcomes: set[str]) -> bool:
        missing = set(self.names) - outcomes
        return len(missing) < len(self.names) if self.race else not missing


@dataclass
class Flight:
    """An answer on its way back: it was given by what the app was told then."""

    job: Job
    message: Message
    sent: frozenset[str]


@dataclass
class Life:
    """A run with the jobs its decisions made; the first letter of a step's name says what kind of step it is."""

    groups: list[Group]
    fails: dict[str, int]
    checkpoints: bool
    world: World = field(default_factory=World)
    jobs: set[Job] = field(default_factory=lambda: {(*DISCOVERY, 0)})
    flights: list[Flight] = field(default_factory=list)
    again: bool = False
    #: Bodies that began though the step's outcome was memoised.
    repeated: list[str] = field(default_factory=list)

    # What may happen.

    def take(self, job: Job) -> None:
        """A worker takes a job, and calls."""
        self.jobs.discard(job)
        self.flights.append(Flight(job, self.message(job), frozenset(self.world.outcomes)))

    def land(self, flight: Flight) -> None:
        """The answer arrives."""
        self.flights.remove(flight)
        kind, step, _ = flight.job
        message = flight.message
        if isinstance(message, Asked) and step is None:
            known = {op.id for op in message.ops} & set(self.world.outcomes)
            message = replace(message, progressed=bool(known - flight.sent))
        decision = self.world.apply(message)
        if isinstance(decision.then, Retry):
            self.jobs.add((kind, step, decision.then.attempt))
        elif isinstance(decision.then, Continue) or ((kind, step) == DISCOVERY and self.again):
            self.again = False
            self.jobs.add((*DISCOVERY, 0))
        self.enact(decision)

    def lose(self, flight: Flight) -> None:
        """The worker dies: its lease runs out, and another takes the job."""
        self.flights.remove(flight)
        self.jobs.add(flight.job)

    def echo(self, message: Message) -> None:
        """What was heard once is heard again, long after; nobody holds a job for it any more."""
        if (isinstance(message, Asked) and message.target is None) or isinstance(message, Returned):
            before = dict(self.world.outcomes)
            decision = advance(self.world.run, message, POLICY, NOW, 0.5)  # Its lease is lost: nothing is written.
            memoised = {effect.id for effect in decision.effects if isinstance(effect, SaveStep) and effect.memo}
            assert set() == memoised & set(before)
        else:
            self.enact(self.world.apply(message))

    # What decisions cause.

    def enact(self, decision: Decision) -> None:
        for effect in decision.effects:
            match effect:
                case AddCall(step_id):
                    self.add("call", step_id)
                case AddFetch(step_id):
                    self.add("fetch", step_id)
                case AddWake(step_id, _):
                    self.add("wake", step_id)
                case OpenPause(ask):
                    self.add("hit", ask.id)
                    self.add("timeout", ask.id)
                case Discover():
                    self.discover()
        if self.world.run.status.final:
            self.jobs.clear()

    def add(self, kind: str, step: str) -> None:
        """Add a job; its key is taken only once."""
        assert (kind, step) not in {job[:2] for job in self.under_way()}, "opened twice"
        self.jobs.add((kind, step, 0))

    def discover(self) -> None:
        if DISCOVERY in {job[:2] for job in self.under_way()}:
            self.again = True
        else:
            self.jobs.add((*DISCOVERY, 0))

    def under_way(self) -> list[Job]:
        return [*self.jobs, *(flight.job for flight in self.flights)]

    # What the app and the world answer.

    def message(self, job: Job) -> Message:
        kind, step, attempt = job
        match kind:
            case "wake":
                return Woke(step or "")
            case "hit":
                return Resumed(step or "", '{"data":1}', ERROR if step in self.fails else None)
            case "timeout":
                return TimedOut(step or "", ERROR if step in self.fails else None)
            case _:
                return self.answer(step, attempt)

    def answer(self, step: str | None, attempt: int) -> Message:
        if step is not None:
            return Asked(step, attempt, (self.body(step),))
        told, plan_only = set(self.world.outcomes), self.world.run.open > 0
        checkpointed = self.checkpointed(attempt) if self.checkpoints and not plan_only else []
        told |= set(checkpointed)
        missing, over = self.missing(told)
        if over:
            return Returned(None, 0 if checkpointed else attempt, "1")
        alone = len(missing) == 1 and not plan_only and missing[0][0].isalpha() and missing[0][0] in "abcdefg"
        ops = (self.body(missing[0]),) if alone else tuple(self.op(name) for name in missing)
        return Asked(None, 0 if checkpointed else attempt, ops)

    def missing(self, told: set[str]) -> tuple[list[str], bool]:
        """What the app asks for, by what it is told; and whether it is through."""
        missing = list[str]()
        for group in self.groups:
            missing += [name for name in group.names if name not in told]
            if not group.is_over(told):
                return missing, False
        return missing, True

    def checkpointed(self, attempt: int) -> list[str]:
        """Steps that stand alone are run one after the other within the call, and saved from there."""
        saved = list[str]()
        while True:
            missing, over = self.missing(set(self.world.outcomes))
            if over or len(missing) != 1 or missing[0][0] not in "abcdefg" or self.fails.get(missing[0], 0):
                return saved
            done = self.body(missing[0])
            assert isinstance(done, StepDone)
            self.enact(self.world.apply(Checkpointed(None, 0 if saved else attempt, (done,))))
            saved.append(done.id)

    def op(self, name: str) -> Op:
        match name[0]:
            case "z":
                return SleepAsked(name, name, "Sleep", NOW)
            case "w":
                return WaitAsked(name, name, "WaitForEvent", "e", NOW)
            case "i":
                return InvokeAsked(name, name, "InvokeFunction", "f", "{}", NOW)
            case "x":
                return FetchAsked(name, name, "Gateway", "{}")
            case _:
                race = any(group.race for group in self.groups if name in group.names)
                return StepPlanned(name, name, "StepPlanned", race)

    def body(self, name: str) -> Op:
        if name in self.world.outcomes:
            self.repeated.append(name)
        if self.fails.get(name, 0):
            self.fails[name] -= 1
            return StepErrored(name, name, "StepError", ERROR, final=False)
        return StepDone(name, name, "StepRun", "1")


groups = st.builds(Group, st.lists(st.sampled_from(KINDS), min_size=1, max_size=4).map(tuple), st.booleans())


@settings(max_examples=400)
@given(
    st.lists(groups, max_size=4), st.dictionaries(st.sampled_from(KINDS), st.integers(1, 4)), st.booleans(), st.data()
)
def test_whatever_is_lost_late_doubled_or_out_of_order_every_run_ends_once_and_no_done_step_runs_again(
    plan, fails, checkpoints, data
):
    """Each name is one step of the plan; a step that fails more often than it may is memoised as failed."""
    named = [Group(tuple(f"{name}{at}.{i}" for i, name in enumerate(it.names)), it.race) for at, it in enumerate(plan)]
    left = {name: fails[name[0]] for group in named for name in group.names if name[0] in fails}
    life, heard, faults = Life(named, left, checkpoints), list[Message](), 8

    for _ in range(600):
        if not life.jobs and not life.flights:
            break
        choices = [(life.take, job) for job in sorted(life.jobs, key=str)] + [(life.land, it) for it in life.flights]
        if faults:
            choices += [(life.lose, it) for it in life.flights] + [(life.echo, it) for it in heard]
        do, what = data.draw(st.sampled_from(choices))
        faults -= do in (life.lose, life.echo)
        heard += [what.message] if do == life.land else []
        do(what)

    assert Status.COMPLETED is life.world.run.status
    assert ([], 1, 0) == (life.repeated, life.world.finishes, life.world.changed_outcomes)
    assert all(group.is_over(set(life.world.outcomes)) for group in named)
