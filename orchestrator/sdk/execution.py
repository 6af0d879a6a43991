"""One call of a function: which of its steps are memoised, which one may run now, and what it asks for beyond that.

The function is called from its top each time.  A memoised step gives its outcome at once.  The first one that is not
runs on the spot, is stored through the `Host`, and the function goes on: a chain of steps is one call.  Where several
are wanted at the same time, or something of the run stands open elsewhere, steps are only *planned*: each gets a call
of its own (`target`), perhaps in another process, and the function is called again when they are done.  So parallel
steps, sleeps and waits mean exactly what they mean over HTTP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from orchestrator.core.message import Op, StepDone, StepErrored, StepPlanned
from orchestrator.sdk.errors import Interrupt, NonRetriable, NotDeterministic, RetryAfter, StepError
from orchestrator.sdk.options import Retry
from orchestrator.sdk.triggers import NewEvent
from orchestrator.sdk.values import arguments_text, decode, encode, error_text, step_error

#: What a step is to people.
RUN, SLEEP, WAIT, INVOKE, SIGNAL = "StepRun", "Sleep", "WaitForEvent", "InvokeFunction", "WaitForSignal"
TASK = "Task"
#: Of one step's result, as over HTTP.
MOST_OUTPUT = 4 * 1024 * 1024
_MOST_NAME = 255
_inside: ContextVar[str | None] = ContextVar("inside", default=None)


class Host(Protocol):
    """What a running function needs of the process it runs in.  Each may raise `Abandoned`."""

    @property
    def attempt(self) -> int:
        """The attempt (0-based) that a step or the function would fail now."""
        ...

    def now(self) -> datetime:
        """The time."""
        ...

    def check(self) -> None:
        """Return if the function may go on."""
        ...

    def done(self, step: StepDone) -> None:
        """Store a step for good."""
        ...

    def send(self, events: list[NewEvent], seed: str) -> list[str]:
        """Send events; with the same seed again the same ones, which start nothing twice.  Returns their ids."""
        ...

    def signal(self, signal: str, data: str) -> bool:
        """Give a signal, with JSON data, to the run that waits for it; False: there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """A step that the function got to."""

    id: str
    name: str


@dataclass(slots=True)
class Execution:
    """The state of one call."""

    host: Host
    #: Outcomes by step id, in the order of their storing.
    memo: Mapping[str, str]
    #: The one step that is to run, or None: the function is called from its top.
    target: str | None = None
    plan_only: bool = False
    #: The function's own policy, for steps that have none.
    retry: Retry | None = None
    max_attempts: int = 5
    #: What steps get in place of their own arguments (JSON arrays), by their ids.
    inputs: Mapping[str, str] = field(default_factory=dict)
    #: What the bodies that run were called with, for people to look at.
    taken: dict[str, str] = field(default_factory=dict)
    #: What the call has found, for the answer.
    ops: list[Op] = field(default_factory=list)
    #: No step may begin any more: the function is being left.
    over: bool = False
    #: Steps got to whose outcome is known.
    seen: set[str] = field(default_factory=set)
    _counts: dict[str, int] = field(default_factory=dict)
    _grouped: int = 0
    _race: bool = False

    def identify(self, name: str) -> Found:
        """The id of the step of this name; the second of a name becomes `name:1`, and so on.

        Raises `Interrupt` when the function is being left, and `NonRetriable` within the body of another step.
        """
        if self.over:
            raise Interrupt
        outer = _inside.get()
        if outer is not None:
            raise NonRetriable(f'step "{name}" was asked for inside of step "{outer}": steps do not nest')
        if not isinstance(name, str) or not name:
            raise NonRetriable(f"a step's id must be a text of at least one character, not {name!r}")
        count = self._counts.get(name, 0)
        self._counts[name] = count + 1
        full = f"{name}:{count}" if count else name
        return Found(hashlib.sha1(full.encode("utf-8", "replace")).hexdigest(), name.replace("\0", "")[:_MOST_NAME])

    def knows(self, step: Found) -> bool:
        """Whether the step has an outcome."""
        return step.id in self.memo

    def outcome(self, step: Found, kind: str) -> Any:
        """The memoised value of a step.

        Raises `StepError` where it failed, and `NotDeterministic` where it is none that a step of this kind leaves.
        """
        self.seen.add(step.id)
        value = decode(self.memo[step.id])
        wrapped = value.keys() if isinstance(value, dict) and len(value) == 1 else set[str]()
        if wrapped == {"error"}:
            raise step_error(value["error"])
        fits = {
            SLEEP: value is None,
            WAIT: value is None or wrapped != {"data"},
            SIGNAL: value is None or bool(wrapped),
        }
        if not fits.get(kind, wrapped == {"data"}):
            raise NotDeterministic(
                f'step "{step.name}" has an outcome that no {kind} leaves: when this run did it, it was another kind '
                "of step; give the new one an id of its own"
            )
        return value["data"] if wrapped == {"data"} else value

    @property
    def racing(self) -> bool:
        """Whether the function is to go on after each of the steps it asks for now."""
        return self._race

    @property
    def replaying(self) -> bool:
        """Whether the function is still going over what it did before."""
        return len(self.seen) < len(self.memo)

    @property
    def unseen(self) -> tuple[str, ...]:
        """The memoised steps that the function has not got to."""
        if len(self.seen) >= len(self.memo):
            return ()
        return tuple(step_id for step_id in self.memo if step_id not in self.seen)

    # What may happen to a step without an outcome.

    def arguments(self, step: Found, own: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the step's body is called with: what the function says, unless the run was given something else."""
        given = self.inputs.get(step.id)
        taken = given if given is not None else arguments_text(own)
        if taken is not None:
            self.taken[step.id] = taken
        return tuple(decode(given)) if given is not None else own

    def takes_no_input(self, step: Found) -> None:
        """Raise `NonRetriable` if the run was given an input for a step that has no arguments."""
        if step.id in self.inputs:
            raise NonRetriable(f'step "{step.name}" has no arguments, and this run was given another input for it')

    def planning(self, step: Found) -> bool:
        """Whether the step, which would run code, has to be planned.  Raises `Interrupt` where it is not its turn."""
        if self.target is not None:
            if step.id != self.target:
                raise Interrupt
            return False
        return self.plan_only or self._grouped > 0

    def plan(self, step: Found, input: str | None = None, *, race: bool | None = None) -> None:
        """Ask for a call of the step's own."""
        self.ops.append(StepPlanned(step.id, step.name, RUN, self._race if race is None else race, input))

    def ask(self, op: Op) -> None:
        """Ask for something that takes time: a sleep, a wait, an invoke; in a targeted call it is not its turn."""
        if self.target is None:
            self.ops.append(op)

    def begin(self) -> datetime:
        """Return when the step's body begins, unless it must not."""
        self.host.check()
        return self.host.now()

    def finish(self, step: Found, value: Any, started: datetime) -> None:
        """Store a step's result.  Raises `Interrupt` in a targeted call, which is over with it."""
        output = encode(value, f'step "{step.name}"')
        if len(output) > MOST_OUTPUT // 4 and len(output.encode()) > MOST_OUTPUT:
            size = len(output.encode())
            raise NonRetriable(
                f'the output of step "{step.name}" has {size} bytes; the limit is {MOST_OUTPUT} bytes (4 MiB)'
            )
        done = StepDone(step.id, step.name, RUN, output, started, self.taken.pop(step.id, None))
        if self.target is not None:
            self.ops.append(done)
            self.over = True
            raise Interrupt
        self.host.done(done)

    def fail(self, step: Found, error: Exception, retry: Retry | None, started: datetime) -> None:
        """Note that a step's body raised."""
        policy = retry or self.retry
        attempt = self.host.attempt
        most = (policy.times + 1) if policy is not None else self.max_attempts
        final = is_final(error, policy)
        after = wait_of(error, self.host.now())
        backoff = policy.wait(attempt) if policy is not None and after is None else None
        taken, text = self.taken.pop(step.id, None), error_text(error)
        self.ops.append(StepErrored(step.id, step.name, RUN, text, final, after, started, most, backoff, taken))
        self.over = True

    @contextmanager
    def group(self, race: bool) -> Iterator[None]:
        """Plan the steps asked for in the block, instead of running them."""
        outer, self._race = self._race, race
        self._grouped += 1
        try:
            yield
        finally:
            self._grouped -= 1
            self._race = outer


@contextmanager
def inside(step: Found) -> Iterator[None]:
    """Note that what follows is the body of a step, in which no other may begin."""
    token = _inside.set(step.name)
    try:
        yield
    finally:
        _inside.reset(token)


def run_body(execution: Execution, step: Found, body: Callable[[], Any], retry: Retry | None) -> None:
    """Run the body of a step here and now, and store its result.

    Raises `Interrupt` when the call ends with it: it failed, or it was all this call was for.
    """
    started = execution.begin()
    try:
        with inside(step):
            value = body()
        execution.finish(step, value, started)
    except Exception as error:
        execution.fail(step, error, retry, started)
        raise Interrupt from None


def is_final(error: BaseException, policy: Retry | None) -> bool:
    """Whether trying again is of no use."""
    if isinstance(error, NonRetriable | StepError | NotDeterministic):
        return True
    return policy is not None and not isinstance(error, (*policy.on, RetryAfter))


def wait_of(error: BaseException, now: datetime) -> timedelta | None:
    """The wait that the error itself asks for."""
    if not isinstance(error, RetryAfter):
        return None
    if isinstance(error.after, timedelta):
        return error.after
    return max(error.after - now, timedelta())
