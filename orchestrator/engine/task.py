"""Task jobs: steps that a Celery task of the team's own does, on the team's workers.

Theory of operation.  Whoever leases a task job sends the task's message and gives the job back, ready again at a time
at which the message must have been lost: then it is sent anew.  So a message is a hint like any other.  The worker that
gets it claims the job, holds its lease for as long as the task runs, and settles the step by it; a message that finds
the job held, done or at another attempt is dropped, so that no completed step runs again.  A worker that dies loses its
lease, as everywhere, and the message is sent anew at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator import log
from orchestrator.core.effect import StepStatus
from orchestrator.core.message import Asked, StepDone, StepErrored
from orchestrator.drivers.local import app_of
from orchestrator.engine.branch import Branch
from orchestrator.engine.call import hand_on
from orchestrator.engine.enter import end, enter, let_go
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import settle
from orchestrator.queue.admit import admit
from orchestrator.sdk.errors import NonRetriable
from orchestrator.sdk.execution import MOST_OUTPUT, wait_of
from orchestrator.sdk.tasks import TaskCall, Ticket, read
from orchestrator.sdk.values import encode, error_text
from orchestrator.store import jobs, runs, slots, steps, tasks
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.jobs import Hint, Lease
from orchestrator.store.runs import Loaded
from orchestrator.store.steps import StoredStep

_log = log.get(__name__)

#: After how long a message nobody came with is taken for lost; doubled each time.
LOST = timedelta(minutes=1)
LOST_MOST = timedelta(minutes=15)
#: How soon it is tried again where the broker did not take it.
AWAY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Taken:
    """A task job in the hands of the worker that runs the task."""

    lease: Lease
    loaded: Loaded
    step: StoredStep
    call: TaskCall
    since: datetime


def send(parts: Parts, lease: Lease, _branch: Branch | None = None) -> None:
    """Send the task that a leased task job stands for."""
    with parts.holdings.holding(lease):
        taken = _load(parts, lease)
        if taken is None:
            return
        app = _app(parts, taken) or ""
        sender = parts.local.tasks(app)
        if sender is None:
            _pass_on(parts, taken, app)
            return
        entered = enter(parts, lease, taken.loaded)
        if entered is None:
            return
        parts.holdings.keep([entered])
        times = _times_sent(lease)
        if not _note_sent(parts, entered, lease.attempt, times):
            return
    ticket = Ticket(lease.key, lease.attempt)
    try:
        sender.send(taken.call, ticket)
    except NonRetriable as error:
        refused = claim(parts, ticket)
        if refused is not None:
            fail(parts, refused, error)
    except Exception as error:
        _not_sent(parts, taken, error)
    else:
        _log.info("task sent", run_id=lease.run_id, step=taken.step.name, task=taken.call.task, times=times + 1)


@undisturbed
def _note_sent(parts: Parts, entered: Lease, attempt: int, times: int) -> bool:
    """Write that the task is sent once more, and when it is lost if nobody comes with it; False: the lease is lost."""
    lost_at = parts.clock.now() + min(LOST * 2 ** min(times, 10), LOST_MOST)
    with parts.database.write() as conn:
        return tasks.sent(conn, entered, lost_at, f"{attempt}:{times + 1}")


@undisturbed
def claim(parts: Parts, ticket: Ticket) -> Taken | None:
    """Take the job a message is for, before its task runs; None: the message is a double, or too late.

    Or there is no slot for it at present: then it is sent anew when there is.
    """
    by = parts.holder()
    with parts.database.write() as conn:
        lease = tasks.claim(conn, ticket.key, ticket.attempt, by.owner, by.until)
    if lease is None:
        return None
    parts.holdings.keep([lease])
    taken: Taken | None = None
    try:
        taken = _entered(parts, lease)
    finally:  # One that nobody has must run out.
        if taken is None:
            parts.holdings.drop(lease)
    return taken


def _entered(parts: Parts, lease: Lease) -> Taken | None:
    """What the job is about, with the slots it needs; None: there is nothing to do for it now."""
    taken = _load(parts, lease)
    entered = enter(parts, lease, taken.loaded) if taken is not None else None
    if taken is None or entered is None:
        return None
    parts.holdings.keep([entered])
    return replace(taken, lease=entered)


def finish(parts: Parts, taken: Taken, value: object) -> None:
    """Memoise what the task returned; what JSON cannot hold, or is too much, is an error of the step."""
    step = taken.step
    try:
        output = encode(value, f'task "{step.name}"')
        if len(output) > MOST_OUTPUT // 4 and (size := len(output.encode())) > MOST_OUTPUT:
            raise NonRetriable(f'the result of task "{step.name}" has {size} bytes; the limit is {MOST_OUTPUT} (4 MiB)')
    except NonRetriable as error:
        fail(parts, taken, error)
        return
    _settle(parts, taken, StepDone(step.id, step.name, step.op, output, taken.since))


def fail(parts: Parts, taken: Taken, error: BaseException) -> None:
    """Note that the task failed, for good as far as Celery is concerned."""
    step, retry, attempt = taken.step, taken.call.retry, taken.lease.attempt
    after = wait_of(error, parts.clock.now())
    backoff = retry.wait(attempt) if retry is not None and after is None else None
    final, most = taken.call.is_final(error), _most(taken)
    text = error_text(error)
    _settle(parts, taken, StepErrored(step.id, step.name, step.op, text, final, after, taken.since, most, backoff))


@undisturbed
def give_back(parts: Parts, taken: Taken, expected: datetime | None = None) -> bool:
    """Let the task go on elsewhere, by a message that arrives about then (now where nothing is said).

    Until then it holds no slot.  False: the lease is lost.
    """
    now, lease, freed = parts.clock.now(), taken.lease, set[str]()
    parts.holdings.drop(lease)
    with parts.database.write() as conn:
        released = jobs.rest(conn, lease, max(now, expected or now) + LOST)
        if released and lease.admitted:
            freed = slots.leave(conn, lease.run_id or "", lease.job_id)
    admit(parts.database, parts.announcer, freed, now)
    if not released:
        let_go(parts, lease)
    return released


def send_again(parts: Parts, taken: Taken) -> None:
    """The task was broken off from outside: let it be sent anew at once."""
    parts.holdings.drop(taken.lease)
    hand_on(parts, taken.lease, _app(parts, taken))


def _load(parts: Parts, lease: Lease) -> Taken | None:
    """What the job is about; None: there is nothing to do for it any more, and it is ended."""
    run_id, step_id = lease.run_id or "", lease.step_id or ""
    with parts.database.read() as conn:
        loaded = runs.load(conn, run_id)
        step = steps.get(conn, run_id, step_id) if loaded is not None else None
    if loaded is None or step is None or loaded.run.status.final or step.status is not StepStatus.PLANNED:
        end(parts, lease)
        return None
    return Taken(lease, loaded, step, read(step.input or "{}"), parts.clock.now())


def _pass_on(parts: Parts, taken: Taken, app: str) -> None:
    """To a process that can send, unless there can be none."""
    if not parts.local.holds(app):
        hand_on(parts, taken.lease, app)
        return
    sentence = f'the app "{app}" is attached to no Celery application: Orchestrator("{app}", celery=app)'
    fail(parts, taken, NonRetriable(sentence))


@undisturbed
def _not_sent(parts: Parts, taken: Taken, error: Exception) -> None:
    """The broker did not take the message: soon again, as if it had not been tried."""
    lease = taken.lease
    _log.warning("task not sent", run_id=lease.run_id, step=taken.step.name, error=f"{type(error).__name__}: {error}")
    again, by, freed = parts.clock.now() + AWAY, parts.holder(), set[str]()
    with parts.database.write() as conn:
        claimed = tasks.claim(conn, lease.key, lease.attempt, by.owner, by.until)
        if claimed is not None:
            tasks.sent(conn, replace(claimed, admitted=False), again, lease.payload)
        if claimed is not None and claimed.admitted:
            freed = slots.leave(conn, lease.run_id or "", lease.job_id)
    if claimed is not None:
        parts.announcer.announce([Hint(lease.job_id, lease.kind, again, _app(parts, taken))])
    admit(parts.database, parts.announcer, freed, parts.clock.now())


def _settle(parts: Parts, taken: Taken, op: StepDone | StepErrored) -> None:
    lease = taken.lease
    message = Asked(lease.step_id, lease.attempt, (op,))
    try:
        applied, _ = settle(parts, lease, taken.loaded, message, _most(taken))
    finally:
        parts.holdings.drop(lease)
    if not applied.accepted:
        _log.warning("lease lost", run_id=lease.run_id, function=taken.loaded.slug, job_id=lease.job_id)
        let_go(parts, lease)
    elif applied.lease is not None:
        hand_on(parts, applied.lease, _app(parts, taken))


def _most(taken: Taken) -> int:
    return taken.call.retry.times + 1 if taken.call.retry is not None else 1


def _app(parts: Parts, taken: Taken) -> str | None:
    return app_of(parts.versions.read(taken.loaded).function.url)


def _times_sent(lease: Lease) -> int:
    """How often this attempt's message was sent already, which is kept as `attempt:times`."""
    attempt, _, times = (lease.payload or "").partition(":")
    return int(times) if attempt == str(lease.attempt) else 0
