"""What a running function of this process does to its run: steps are stored as they are done, under its lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from orchestrator import log
from orchestrator.core.effect import Record
from orchestrator.core.event import Event
from orchestrator.core.message import Checkpointed, StepDone
from orchestrator.engine.branch import Branch
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import settle
from orchestrator.engine.signal import signal as give_signal
from orchestrator.errors import NotFoundError
from orchestrator.ids import new_ulid
from orchestrator.protocol.events import EventLimits, parse_events
from orchestrator.protocol.run_errors import STATE_OVERFLOWED, too_much_state
from orchestrator.sdk.errors import Abandoned, NonRetriable, StepError
from orchestrator.sdk.triggers import NewEvent
from orchestrator.sdk.values import encode
from orchestrator.store import events, history, steps
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.jobs import Lease

_log = log.get(__name__)

#: What one step may send is as much as one request may.
_LIMITS = EventLimits()
#: The function does not ask any more for what it asked for before.
_CHANGED = "function changed"


@dataclass(slots=True)
class Progress:
    """The holder's side of a function that runs here; it keeps the lease and the branch up to date."""

    parts: Parts
    lease: Lease
    branch: Branch

    @property
    def attempt(self) -> int:
        """The attempt that a step or the function would fail now."""
        return self.lease.attempt

    def now(self) -> datetime:
        """The time."""
        return self.parts.clock.now()

    def check(self) -> None:
        """Return if the lease is still held, as far as the heartbeat knows, and the run may remember more.

        Raises `Abandoned` or `StepError`.
        """
        if not self.parts.holdings.holds(self.lease):
            raise Abandoned
        limit = self.parts.settings.max_state_bytes
        if self.branch.state_size > limit:
            raise StepError(too_much_state(self.branch.state_size, limit), STATE_OVERFLOWED)

    def done(self, step: StepDone) -> None:
        """Store a step for good.  Raises `Abandoned` when it cannot be: the lease is lost, or the database is."""
        message = Checkpointed(None, self.lease.attempt, (step,))
        loaded, attempts = self.branch.loaded, self.branch.function.max_attempts
        known = self.branch.run if self.branch.alone else None
        try:
            applied, decision = settle(self.parts, self.lease, loaded, message, attempts, known)
        except Exception as error:
            raise Abandoned from error
        if decision is not None and decision.run.status.final:
            raise Abandoned  # More steps than it may have.
        if not applied.accepted or decision is None or applied.lease is None:
            _log.warning("lease lost", run_id=self.branch.run.id, function=self.branch.slug, job_id=self.lease.job_id)
            raise Abandoned
        self.branch.follow(decision)
        self.lease = applied.lease

    def send(self, new: list[NewEvent], seed: str) -> list[str]:
        """Send events; again with the same seed they start nothing.  Returns their ids, in order.

        Raises `NonRetriable` for what cannot be an event, and `Abandoned` when they cannot be stored.
        """
        now = self.parts.clock.now()
        body = orjson.dumps(wire_events(new, f"{self.branch.run.id}:{seed[:16]}"))
        parsed = parse_events(body, id_at=lambda _: new_ulid(), now=now, limits=_LIMITS)
        if parsed.error is not None:
            raise NonRetriable(parsed.error.message)
        try:
            return accept(self.parts, parsed.events)
        except Exception as error:
            raise Abandoned from error

    def signal(self, signal: str, data: str) -> bool:
        """Give a signal to whoever waits for it."""
        try:
            give_signal(self.parts, signal, data)
        except NotFoundError:
            return False
        except Exception as error:
            raise Abandoned from error
        return True

    @undisturbed
    def strayed(self, step_ids: Sequence[str]) -> None:
        """Tell once, in the log and in the run's history, which memoised steps the function left out."""
        run_id, left_out = self.branch.run.id, set(step_ids)
        with self.parts.database.write() as conn:
            if any(entry.kind == _CHANGED for entry in history.of_run(conn, run_id)):
                return
            names = [step.name for step in steps.of_run(conn, run_id) if step.id in left_out]
            story = orjson.dumps({"steps": names}).decode()
            history.add(conn, run_id, [Record(_CHANGED, data=story)], self.parts.clock.now())
        _log.warning("function changed", run_id=run_id, function=self.branch.slug, steps=names)


@undisturbed
def accept(parts: Parts, received: tuple[Event, ...]) -> list[str]:
    """Store events together and announce their matching; returns their ids."""
    with parts.database.write() as conn:
        ids, hints = events.accept(conn, received, parts.clock.now())
    parts.announcer.announce(hints)
    return ids


def wire_events(new: Sequence[NewEvent], seed: str | None = None) -> list[dict[str, object]]:
    """Events as the event API takes them; with a seed those without an id of their own get one that stays the same."""
    return [_wire(event, f"{seed}:{at}" if seed is not None else None) for at, event in enumerate(new)]


def _wire(event: NewEvent, event_id: str | None) -> dict[str, object]:
    made: dict[str, object] = {"name": event.name}
    if event.id or event_id:
        made["id"] = event.id or event_id
    made["data"] = orjson.Fragment(encode(event.data if event.data is not None else {}, f'event "{event.name}"'))
    if event.ts is not None:
        made["ts"] = int(event.ts.timestamp() * 1000)
    if event.user is not None:
        made["user"] = orjson.Fragment(encode(event.user, f'event "{event.name}"'))
    return made | ({"v": event.v} if event.v is not None else {})
