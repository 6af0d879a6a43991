"""The team's own Celery tasks as steps: sending them, and what happens around one that is a step.

Each task's `run` is wrapped once in every worker process; for messages without our header that costs a look at the
request's headers.  Celery's own retries pass through: the new message takes over from the one before, and the job is
given back for it just before it is published, so that it can come at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from celery import Celery, signals
from celery.app.trace import build_tracer
from celery.exceptions import Ignore, Reject, Retry
from kombu.exceptions import EncodeError

from orchestrator import log
from orchestrator.engine import task as steps
from orchestrator.engine.parts import Parts
from orchestrator.engine.task import Taken
from orchestrator.sdk.errors import NonRetriable
from orchestrator.sdk.tasks import HEADER, TaskCall, Ticket
from orchestrator.workers import processes

_log = log.get(__name__)

_WRAPPED = "_orchestrator_run"
#: Ours, and Celery's own.
_NOT_THEIRS = ("orchestrator.", "celery.")
#: Kept out of a message: each has an id of its own.
_NOT_SENT = ("task_id", "headers")
#: Of a message's options, what a task that runs right here can do with.
_HERE = ("link", "link_error")


@dataclass(slots=True)
class _Work:
    """The task step that this thread is at."""

    parts: Parts
    taken: Taken
    ticket: Ticket
    given_back: bool = False


_work: ContextVar[_Work | None] = ContextVar("work", default=None)


class CelerySender:
    """Sends tasks by an application: as messages, or, `here`, by running them in the calling thread."""

    def __init__(self, app: Celery, *, here: bool = False) -> None:
        self._app = app
        self._here = here

    def send(self, call: TaskCall, ticket: Ticket) -> None:
        """Send one.  Raises `NonRetriable` for one that cannot be; whatever else it raises is the broker's."""
        options = {name: value for name, value in call.options.items() if name not in _NOT_SENT}
        headers = {**(call.options.get("headers") or {}), HEADER: ticket.header()}
        task: Any = self._app.tasks.get(call.task)
        try:
            if self._here:
                self._run(task, call, headers, options)
            elif task is not None:
                task.apply_async(list(call.args), dict(call.kwargs), headers=headers, **_timed(options))
            else:
                self._app.send_task(call.task, list(call.args), dict(call.kwargs), headers=headers, **_timed(options))
        except (TypeError, ValueError, EncodeError) as error:
            raise NonRetriable(f"the task {call.task} cannot be sent: {error}") from error

    def _run(self, task: Any, call: TaskCall, headers: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        if task is None:
            raise NonRetriable(f"there is no task {call.task} in this process, which runs tasks itself")
        wrap(self._app)
        here = {name: value for name, value in options.items() if name in _HERE}
        task.apply(list(call.args), dict(call.kwargs), headers=headers, throw=False, **here)


_serving: Parts | None = None


def serve_here(parts: Parts, senders: Mapping[str, Any]) -> None:
    """Run tasks in this process from now on, by these parts: the server is alone, so nobody else would."""
    global _serving
    _serving = parts
    for registry in senders.values():
        if isinstance(registry.tasks, CelerySender):
            registry.tasks = CelerySender(registry.tasks._app, here=True)


def wrap(app: Celery) -> None:
    """Wrap every task of the application that is not wrapped yet."""
    for name, task in list(app.tasks.items()):
        if not name.startswith(_NOT_THEIRS) and _WRAPPED not in vars(task):
            _wrap(app, task)


def _wrap(app: Celery, task: Any) -> None:
    original = task.run

    @functools.wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        headers = task.request.headers
        ticket = Ticket.read(headers) if headers and HEADER in headers else None
        if ticket is None:
            return original(*args, **kwargs)
        return _step(ticket, functools.partial(original, *args, **kwargs))

    setattr(task, _WRAPPED, original)
    task.run = run
    if task.__trace__ is not None:  # Made before, with the `run` of then.
        task.__trace__ = build_tracer(task.name, task, app.loader, task.request.hostname, app=app)


def _step(ticket: Ticket, body: Callable[[], Any]) -> Any:
    """Run a task that is a step, and settle it; a message that is a double or too late is ignored."""
    parts = _serving or processes.parts()
    taken = steps.claim(parts, ticket)
    if taken is None:
        _log.info("task message dropped", job=ticket.key, attempt=ticket.attempt)
        raise Ignore
    work = _Work(parts, taken, ticket)
    token = _work.set(work)
    try:
        value = body()
    except Retry as retry:
        if not work.given_back:  # Raised by hand: nobody knows when its message comes.
            steps.give_back(parts, taken, _moment(retry.when))
        raise
    except (Ignore, Reject) as left:
        _failed(work, _without_result(left))
        raise
    except Exception as error:
        _failed(work, error)
        raise
    except BaseException:
        _settled(work, lambda: steps.send_again(parts, taken))
        raise
    finally:
        _work.reset(token)
    _settled(work, lambda: steps.finish(parts, taken, value))
    return value


def _failed(work: _Work, error: Exception) -> None:
    _settled(work, lambda: steps.fail(work.parts, work.taken, error))


def _settled(work: _Work, settle: Callable[[], None]) -> None:
    """Settle; a failure at that is ours, not the task's: the lease runs out, and the task runs again."""
    if work.given_back:
        return
    try:
        settle()
    except Exception:
        _log.exception("task not settled", run_id=work.taken.lease.run_id, job_id=work.taken.lease.job_id)


def _without_result(error: Ignore | Reject) -> NonRetriable:
    how = type(error).__name__
    return NonRetriable(f"the task ended by {how}, without a result: self.replace() and {how} have no place in a step")


def _hand_over(headers: Any = None, **_: Any) -> None:
    """A message is about to be published: if it is the retry of the step this thread is at, that has the job next."""
    work = _work.get()
    if work is None or work.given_back or Ticket.read(headers) != work.ticket:
        return
    work.given_back = True
    try:
        steps.give_back(work.parts, work.taken, _moment(headers.get("eta")))
    except Exception:
        _log.exception("task not settled", run_id=work.taken.lease.run_id, job_id=work.taken.lease.job_id)


def _moment(when: Any) -> datetime | None:
    """When a message is to be worked on, if it says so."""
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            return None
    if not isinstance(when, datetime):
        return None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _timed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as Celery wants them: moments came as texts."""
    times = {name: _moment(options.get(name)) for name in ("eta", "expires")}
    return {**options, **{name: moment for name, moment in times.items() if moment is not None}}


def install() -> None:
    """Notice retries as they are published."""
    signals.before_task_publish.connect(_hand_over, weak=False)
