"""Settle a message: let the core decide, write the decision in one transaction, announce, and tell the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

import orjson

from orchestrator import log
from orchestrator.core.effect import Continue, Finish, Record, Retry, SaveStep, Status, StepStatus
from orchestrator.core.event import Ending, Event, ending_events
from orchestrator.core.message import (
    Asked,
    Cancelled,
    Checkpointed,
    DeferDropped,
    Expired,
    Message,
    Op,
    Resumed,
    Returned,
    Threw,
    TimedOut,
    Woke,
)
from orchestrator.core.run import Decision, Run, advance
from orchestrator.engine.defer import deferred_by
from orchestrator.engine.ends import PlainEnd, plain_end
from orchestrator.engine.enter import follow_up
from orchestrator.engine.parts import Parts
from orchestrator.engine.pause import asks_for_signal, may_wait, opened_by
from orchestrator.ids import new_ulid
from orchestrator.store import checkpoints, jobs, pauses, runs
from orchestrator.store.apply import Applied, Holder, apply
from orchestrator.store.database import Connection, IntegrityError, is_connection_lost
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.ends import StepEnds
from orchestrator.store.jobs import Lease
from orchestrator.store.postgresql import Outcome
from orchestrator.store.runs import Loaded

_log = log.get(__name__)

#: Seconds to wait for a database that is away, in all less than a lease lasts.
_WAITS = (0.1, 0.2, 0.5, 1, 2, 4, 8)
#: Of those who take a signal from each other in one moment each time only one gets on.
_MOST_MEETINGS = 20


def settle(
    parts: Parts,
    lease: Lease | None,
    loaded: Loaded,
    message: Message,
    max_attempts: int,
    known: Run | None = None,
    request_version: int | None = None,
    sent: Mapping[str, str] | None = None,
    note: Callable[[Connection], None] | None = None,
) -> tuple[Applied, Decision | None]:
    """Apply one message to a run.

    `known` is the run as the holder of the lease knows it to be; without it the row is locked and read.  `sent` is the
    memo of a call from the top during which others may have memoised more.  `note`, which is for a message without a
    lease, writes what belongs into the same transaction where the message changes something.  Returns what came of it,
    and the decision (None: there is no such run, or the lease is lost).

    Who has a lease waits a while for a database that is away: what an app answered is worth that.  If the write had
    been committed after all, the second one is refused.  Without a lease somebody waits for an answer, and is told at
    once.
    """
    waits, met = iter(_WAITS), 0
    while True:
        try:
            return _settle(parts, lease, loaded, message, max_attempts, known, request_version, sent, note)
        except IntegrityError:
            # Another run began to wait for the same signal in the same moment; now that is there to be seen.
            met += 1
            if met > _MOST_MEETINGS or not asks_for_signal(message):
                raise
        except Exception as error:
            wait = next(waits, None) if lease is not None and is_connection_lost(error) else None
            if wait is None:
                raise
            _log.warning("database away", run_id=loaded.run.id, error=str(error).partition("\n")[0])
            time.sleep(wait)


@undisturbed
def _settle(
    parts: Parts,
    lease: Lease | None,
    loaded: Loaded,
    message: Message,
    max_attempts: int,
    known: Run | None,
    request_version: int | None,
    sent: Mapping[str, str] | None,
    note: Callable[[Connection], None] | None,
) -> tuple[Applied, Decision | None]:
    by = parts.holder()
    policy = parts.settings.policy(max_attempts)
    limited = loaded.run.limits is not None
    # A job with slots gives them back in the transaction that ends it.
    if lease is not None and not (limited and lease.kind in jobs.NEED_SLOTS):
        end = plain_end(lease, loaded.run.id, message, policy, by.now)
        if end is not None:
            return _end(parts.database.ends, lease, loaded, end, by, max_attempts)
    plain = loaded.run.correlation_id is None and not loaded.timed
    hot = parts.database.hot if plain else None
    if known is not None and lease is not None and hot is not None:
        decision = advance(known, message, policy, by.now, parts.chance())
        ending = ending_of(loaded, decision, by.now)
        outcome = hot.settle(lease, known, decision, ending, by.now, limited=limited)
        if outcome is not None:
            return _settled(parts, lease, loaded, decision, outcome, by, max_attempts)
    with parts.database.write() as conn:
        before = known or runs.lock(conn, loaded.run.id, _step_ids(message))
        if before is None:
            return Applied(accepted=False), None
        if isinstance(message, TimedOut) and not pauses.close(conn, before.id, message.step_id):
            if lease is not None:
                jobs.end(conn, lease)  # Its answer came in time, and is on its way.
            return Applied(accepted=False), None
        if sent is not None and lease is not None:
            lease = checkpoints.leased(conn, lease.job_id, lease.generation)
            if lease is None:
                return Applied(accepted=False), None
            message = _caught_up(message, lease, before, sent)
        message = may_wait(conn, before, message)
        decision = advance(before, message, policy, by.now, parts.chance())
        applied = apply(
            conn,
            lease,
            before,
            decision,
            ending_of(loaded, decision, by.now) + deferred_by(conn, loaded, decision, by.now, known),
            by,
            opened=opened_by(conn, loaded, decision, by.now),
            correlation_id=loaded.run.correlation_id,
            limited=limited,
        )
        # While it goes on with what it knows the holder needs nothing stored; else it reads the run again.
        goes_on = isinstance(decision.then, Continue) and sent is None
        if note is not None and applied.accepted and decision.effects:
            note(conn)
        if applied.accepted and request_version is not None and not goes_on and not decision.run.status.final:
            runs.set_request_version(conn, before.id, request_version)
    follow_up(parts, applied)
    if applied.accepted:
        tell(loaded, decision, by, max_attempts)
    return applied, decision


def _end(
    ends: StepEnds, lease: Lease, loaded: Loaded, end: PlainEnd, by: Holder, max_attempts: int
) -> tuple[Applied, Decision]:
    ended = ends.end(end.by(lease, by))
    if ended.accepted:
        tell(loaded, end.decision, by, max_attempts)
    return Applied(ended.accepted, ended.discovery, last_seq=ended.last_seq, open=ended.open), end.decision


def _settled(
    parts: Parts, lease: Lease, loaded: Loaded, decision: Decision, outcome: Outcome, by: Holder, max_attempts: int
) -> tuple[Applied, Decision]:
    applied = Applied(outcome.accepted)
    if outcome.hint is not None:
        applied.hints.append(outcome.hint)
    applied.freed.update(outcome.freed)
    follow_up(parts, applied)
    if outcome.accepted:
        applied.lease = lease if isinstance(decision.then, Continue) else None
        tell(loaded, decision, by, max_attempts)
    return applied, decision


def _caught_up(message: Message, lease: Lease, before: Run, sent: Mapping[str, str]) -> Message:
    """The answer in the light of what was memoised while the call ran.

    Checkpoints begin the count of attempts anew.  An SDK that heard nothing of a checkpoint's success reports its steps
    once more, and one that was called while a step of its own ran still asks for that: both is progress all the same.
    """
    match message:
        case Asked(ops=ops):
            new = [op.id for op in ops if op.id not in sent]
            progressed = any(state.status.done for step_id in new if (state := before.steps.get(step_id)))
            return replace(message, attempt=lease.attempt, progressed=progressed)
        case Returned() | Threw():
            return replace(message, attempt=lease.attempt)
        case _:
            return message


def _step_ids(message: Message) -> list[str]:
    match message:
        case Woke() | Resumed() | TimedOut():
            return [message.step_id]
        case Cancelled() | Expired():
            return []
        case Returned() | Threw() | Asked() | Checkpointed() as reply:
            ids = step_ids(reply.ops)
    return [*ids, reply.target] if reply.target is not None else ids


def step_ids(ops: Iterable[Op]) -> list[str]:
    """The steps whose states decide what the ops mean."""
    return [op.target if isinstance(op, DeferDropped) else op.id for op in ops]


def ending_of(loaded: Loaded, decision: Decision, now: datetime) -> list[Event]:
    """The events that tell of the run's end, if the decision ends it."""
    finish = next((effect for effect in decision.effects if isinstance(effect, Finish)), None)
    if finish is None:
        return []
    result = finish.output if finish.error is None else finish.error
    ending = Ending(
        loaded.slug,
        loaded.run.id,
        finish.status.value,
        loaded.events,
        result,
        finish.error,
        loaded.run.correlation_id,
        loaded.run.requeues,
    )
    return ending_events(ending, loaded.run.event_name, now, (new_ulid(), new_ulid()))


def tell(loaded: Loaded, decision: Decision, by: Holder, max_attempts: int) -> None:
    """Tell the log what a decision did, after its commit."""
    bound = {"run_id": loaded.run.id, "function": loaded.slug}
    reason: str | None = None
    for effect in decision.effects:
        match effect:
            case SaveStep():
                _tell_step(bound, effect, decision, by, max_attempts)
            case Finish(status, _, error):
                _tell_end(bound, loaded, status, error, by, reason)
            case Record("cancelled", data=data):
                reason = orjson.loads(data or "{}").get("reason")
            case _:
                pass
    if isinstance(decision.then, Retry) and not decision.steps:
        _log.info(
            "attempt failed",
            **bound,
            attempt=decision.then.attempt - 1,
            max_attempts=max_attempts,
            error=error_line(decision.then.error),
            next_at=decision.then.at,
        )


def _tell_step(bound: dict[str, str], step: SaveStep, decision: Decision, by: Holder, max_attempts: int) -> None:
    match step.status:
        case StepStatus.COMPLETED if step.op:
            ms = _milliseconds(step.started_at, by.now)
            _log.info("step completed", **bound, step=step.name, op=step.op, ms=ms)
        case StepStatus.WAITING:
            _log.info("run waiting", **bound, step=step.name, op=step.op, until=step.wake_at)
        case StepStatus.SLEEPING:
            _log.info("run sleeping", **bound, step=step.name, until=step.wake_at)
        case StepStatus.RETRYING | StepStatus.FAILED | StepStatus.PLANNED if step.error:
            next_at = decision.then.at if isinstance(decision.then, Retry) else None
            _log.info(
                "step failed",
                **bound,
                step=step.name,
                attempt=step.attempts - 1,
                max_attempts=max_attempts,
                error=error_line(step.error),
                next_at=next_at,
            )
        case _:
            pass


def _tell_end(
    bound: dict[str, str], loaded: Loaded, status: Status, error: str | None, by: Holder, reason: str | None
) -> None:
    match status:
        case Status.COMPLETED:
            _log.info("run completed", **bound, ms=_milliseconds(loaded.run.started_at or by.now, by.now))
        case Status.FAILED:
            _log.info("run failed", **bound, error=error_line(error or "{}"))
        case _:
            _log.info("run cancelled", **bound, reason=reason)


def error_line(error: str) -> str:
    """An error object (JSON text) in one line: its name and its message."""
    try:
        value = orjson.loads(error)
    except orjson.JSONDecodeError:
        return error[:200]
    name, message = value.get("name") or "Error", value.get("message") or ""
    return f"{name}: {message}"[:500]


def _milliseconds(start: datetime | None, end: datetime) -> int | None:
    return max(0, round((end - start).total_seconds() * 1000)) if start is not None else None
