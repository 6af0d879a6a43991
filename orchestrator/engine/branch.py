"""A run in a worker's hands while it holds one of the run's jobs.

Loaded once per lease and kept up to date from the worker's own decisions, so that going on costs no reading.  That is
sound while nothing else of the run is open: then nobody else can change it but a cancellation, which deletes the job
and so breaks the lease.  Where something else is open, or checkpoints were invited, `engine.settle` decides on rows
locked and read anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from orchestrator.core.effect import SaveStep, Status, StepStatus
from orchestrator.core.function import Function
from orchestrator.core.run import Decision, Run, StepState
from orchestrator.drivers.base import Call, Shared
from orchestrator.engine.parts import Parts
from orchestrator.engine.versions import Version
from orchestrator.store import runs, steps
from orchestrator.store.database import Connection
from orchestrator.store.jobs import Lease
from orchestrator.store.runs import Loaded, NewRun


@dataclass(slots=True)
class Branch:
    """The run, its function, and the memo that the next call needs."""

    loaded: Loaded
    function: Function
    #: Whether the app's SDK sends checkpoints when it may.
    checkpoints: bool
    run: Run
    known: dict[str, StepState]
    memo: dict[str, str]
    request_version: int
    current: int
    #: The memo texts together.
    state_size: int = 0
    #: Where the run is shared by the calls of several planned steps; nothing of it changes then.
    shared: Shared | None = None
    #: What the run has deferred, and whether that can still be dropped.
    defers: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of_new(cls, parts: Parts, run: NewRun, slug: str, event: str) -> Branch | None:
        """A run that this process has just written and need not read; None: its function is not known here."""
        version = parts.versions.get(run.function_id, run.function_version)
        if version is None:
            return None
        timed = bool(version.function.timeouts)
        loaded = Loaded(run.stored(), slug, "", run.function_version, False, event, timed=timed)
        fresh = Run(run.id, run.status)
        return cls(loaded, version.function, version.checkpoints, fresh, {}, {}, loaded.run.request_version, 0)

    @classmethod
    def load(cls, parts: Parts, run_id: str) -> Branch | None:
        """Read a run with its steps; None: there is none."""
        with parts.database.read() as conn:
            loaded = runs.load(conn, run_id)
            return cls._with_steps(parts, conn, loaded) if loaded is not None else None

    @classmethod
    def load_for_end(cls, parts: Parts, run_id: str) -> tuple[Loaded | None, Branch | None]:
        """Read a run of which an open step is about to end; its steps only where no other is open."""
        with parts.database.read() as conn:
            loaded = runs.load(conn, run_id)
            if loaded is None or loaded.run.open != 1:
                return loaded, None
            return loaded, cls._with_steps(parts, conn, loaded)

    @classmethod
    def _with_steps(cls, parts: Parts, conn: Connection, loaded: Loaded) -> Branch:
        stored = loaded.run
        # Before its first call, which whoever begins it notes first, a run has no steps, unless it took some over.
        none = stored.status is Status.QUEUED and stored.original_run_id is None
        memos = steps.memos(conn, stored.id) if not none else []
        known = {memo.id: memo.state for memo in memos}
        done = {memo.id: memo.memo for memo in memos if memo.memo is not None}
        last = max((memo.seq or 0 for memo in memos), default=0)
        run = Run(stored.id, stored.status, stored.pending, stored.open, len(known), last, known)
        version, loaded = _read(parts, loaded)
        size = sum(map(len, done.values()))
        asked = stored.request_version
        defers = _defers(known)
        return cls(
            loaded, version.function, version.checkpoints, run, known, done, asked, len(done), size, defers=defers
        )

    @classmethod
    def as_planned(cls, parts: Parts, run_id: str, last_seq: int) -> Branch | None:
        """Read a run for calls of planned steps, with the memo up to this outcome; None: there is no such run."""
        with parts.database.read() as conn:
            loaded = runs.load(conn, run_id)
            if loaded is None:
                return None
            memo = steps.memo_until(conn, run_id, last_seq)
        stored, (version, loaded) = loaded.run, _read(parts, loaded)
        run = Run(run_id, stored.status, stored.pending, stored.open)
        size = sum(map(len, memo.values()))
        asked = stored.request_version
        return cls(loaded, version.function, version.checkpoints, run, {}, memo, asked, len(memo), size, Shared())

    @property
    def slug(self) -> str:
        """The function's slug."""
        return self.loaded.slug

    def call(self, parts: Parts, lease: Lease) -> Call:
        """The call that the lease asks for."""
        return Call(
            url=self.function.url,
            function_slug=self.slug,
            run_id=self.run.id,
            target=lease.step_id,
            attempt=lease.attempt,
            max_attempts=self.function.max_attempts,
            events=self.loaded.events,
            memo=self.memo,
            current=self.current,
            plan_only=self._plan_only(lease),
            request_version=self.request_version,
            job_id=str(lease.job_id),
            generation=lease.generation,
            timeout=parts.settings.call_timeout,
            defers=self.defers,
            checkpoints_of=self.loaded.run.function_id if self.invites_checkpoints(lease) else None,
            shared=self.shared,
            inputs=self._inputs,
        )

    def invites_checkpoints(self, lease: Lease) -> bool:
        """Whether steps may be memoised, without the lease's holder knowing, while the call runs."""
        # While it checkpoints, the TypeScript SDK (4.24) takes a step with another input for one that is done.
        return self.checkpoints and not self._plan_only(lease) and not self._inputs

    @property
    def _inputs(self) -> dict[str, str]:
        """What steps without an outcome get in place of their own input."""
        return {it: text for it, text in self.loaded.inputs.items() if it not in self.memo}

    def _plan_only(self, lease: Lease) -> bool:
        return lease.step_id is not None or self.run.open > 0

    def follow(self, decision: Decision) -> None:
        """Take over what the worker itself decided."""
        self.known.update(decision.steps)
        self.defers |= _defers(decision.steps)
        for effect in decision.effects:
            if isinstance(effect, SaveStep) and effect.memo is not None:
                self.memo[effect.id] = effect.memo
                self.state_size += len(effect.memo)
        self.run = replace(decision.run, steps=self.known)
        self.current = len(self.memo)

    def close(self, step: SaveStep) -> None:
        """Take over the outcome of the one step that was open."""
        assert step.memo is not None, "an outcome is memoised"
        self.known[step.id] = StepState(step.status)
        self.memo[step.id] = step.memo
        self.state_size += len(step.memo)
        self.run = replace(self.run, pending=0, open=0, last_seq=self.run.last_seq + 1, steps=self.known)
        self.current = len(self.memo)

    @property
    def alone(self) -> bool:
        """Whether nothing else of the run is open, so that what is known here is the truth."""
        return self.run.open == 0

    @property
    def over(self) -> bool:
        """Whether the run had ended already."""
        return self.run.status not in (Status.QUEUED, Status.RUNNING)


def _read(parts: Parts, loaded: Loaded) -> tuple[Version, Loaded]:
    """The run's function, and the run with what that says about it."""
    version = parts.versions.read(loaded)
    return version, replace(loaded, timed=bool(version.function.timeouts))


def _defers(steps: Mapping[str, StepState]) -> dict[str, bool]:
    return {
        step_id: state.status is StepStatus.DEFERRED
        for step_id, state in steps.items()
        if state.status in (StepStatus.DEFERRED, StepStatus.DROPPED)
    }


@dataclass(frozen=True, slots=True)
class Held:
    """A leased job, with what is already known of its run."""

    lease: Lease
    branch: Branch | None = None
