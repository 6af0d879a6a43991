"""Announcing: telling whoever works that jobs are, or will soon be, ready.

An announcement is a hint.  Losing, doubling, delaying or reordering it can slow a run, never corrupt it: whoever gets a
hint still has to lease the job, and the sweep announces again what was never picked up.

Over a broker a hint is `[job id, kind, due time in Unix microseconds]`, with its priority as a fourth if it has one;
many of them make one Celery task message, written here without Celery's own publisher, which costs two to four times as
much.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Protocol

import kombu

from orchestrator import log
from orchestrator.config import Config
from orchestrator.queue import broker
from orchestrator.queue.broker import Broker
from orchestrator.store.crons import UNLEASED
from orchestrator.store.jobs import Hint

_log = log.get(__name__)

#: Hints in one message.
BATCH = 100
#: Hints waiting for the broker; more are dropped, oldest first, and found by the sweep.
MOST_WAITING = 10_000
#: Seconds between two looks at a broker that is away.
_PAUSE = 0.5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Announcer(Protocol):
    """Takes hints after the commit that made their jobs."""

    def announce(self, hints: Sequence[Hint]) -> None:
        """Pass the hints on; never raises and never waits long."""
        ...


class BrokerState(Enum):
    """What a process knows of its broker."""

    #: None is configured.
    NONE = "none"
    #: This process has had nothing to announce yet.
    UNUSED = "not used yet"
    #: The last hints went out.
    THERE = "connected"
    #: The last attempt failed; work is found by sweeps.
    AWAY = "away"


def broker_state(announcer: Announcer) -> BrokerState:
    """What is known of the broker that an announcer uses."""
    return announcer.state if isinstance(announcer, BrokerAnnouncer) else BrokerState.NONE


class Silence:
    """Announces nothing: without a broker the workers' sweeps find the jobs."""

    def announce(self, hints: Sequence[Hint]) -> None:
        """Let the sweep find them."""


def announcer(config: Config) -> Announcer:
    """How a process that does no work itself announces."""
    told = broker.of(config)
    return BrokerAnnouncer(told) if told else Silence()


class BrokerAnnouncer:
    """Sends hints to the broker from a thread of its own, so that no request waits for it.

    What comes while a message is sent goes into the next one.  While the broker is away hints are dropped.
    """

    def __init__(self, told: Broker) -> None:
        self.broker = told
        self._thread: threading.Thread | None = None
        #: What is known of the broker; nothing before the first hint.
        self.state = BrokerState.UNUSED
        self._start_afresh()
        os.register_at_fork(after_in_child=self._start_afresh)

    def announce(self, hints: Sequence[Hint]) -> None:
        """Queue the hints for sending."""
        if not hints:
            return
        with self._wanted:
            self._waiting.extend(hints)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
                self._thread.start()
            self._wanted.notify()

    def _start_afresh(self) -> None:
        self._wanted = threading.Condition()
        self._waiting = deque[Hint](maxlen=MOST_WAITING)
        self._thread = None
        self.state = BrokerState.UNUSED

    def _run(self) -> None:
        while True:
            try:
                with self.broker.connection(2) as connection:
                    sender = _Sender(connection, self.broker)
                    if self.state is BrokerState.AWAY:
                        _log.info("broker is back")
                    self.state = BrokerState.THERE
                    while True:
                        sender.send(self._next())
            except Exception as error:  # whatever a transport raises when its broker goes away
                if self.state is not BrokerState.AWAY:
                    _log.warning("broker is away", error=f"{type(error).__name__}: {error}")
                self.state = BrokerState.AWAY
                time.sleep(_PAUSE)

    def _next(self) -> list[Hint]:
        with self._wanted:
            while not self._waiting:
                self._wanted.wait()
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]


class _Sender:
    """One connection's channel, with the queues declared."""

    def __init__(self, connection: kombu.Connection, told: Broker) -> None:
        self._broker = told
        self._channel = connection.channel()
        self._declared = set[str]()
        for name in (broker.RUNNER_QUEUE, broker.EXECUTOR_QUEUE):
            self._declare(name)
        self._producer = kombu.Producer(self._channel)

    def send(self, hints: Sequence[Hint]) -> None:
        by_queue = dict[str, list[Hint]]()
        for hint in hints:
            by_queue.setdefault(_queue_of(hint), []).append(hint)
        for queue, some in by_queue.items():
            self._declare(queue)
            task = broker.RUNNER_TASK if queue == broker.RUNNER_QUEUE else broker.EXECUTOR_TASK
            self._publish(task, queue, [_written(hint) for hint in some])

    def _declare(self, name: str) -> None:
        if name not in self._declared:
            self._broker.queue(name)(self._channel).declare()
            self._declared.add(name)

    def _publish(self, task: str, queue: str, hints: list[list[Any]]) -> None:
        task_id = str(uuid.uuid4())
        self._producer.publish(
            ([hints], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}),
            serializer="json",
            routing_key=self._broker.queue_name(queue),
            exchange="",
            delivery_mode=1,  # transient: a hint need not survive the broker,
            retry=False,
            correlation_id=task_id,
            headers=_headers(task, task_id, len(hints)),
        )


def read_hints(hints: Sequence[Sequence[Any]]) -> list[Hint]:
    """The hints of a message."""
    return [
        Hint(
            int(job_id),
            str(kind),
            _EPOCH + timedelta(microseconds=int(at)),
            priority=int(priority[0]) if priority else 0,
        )
        for job_id, kind, at, *priority in hints
    ]


def _written(hint: Hint) -> list[Any]:
    known: list[Any] = [hint.job_id, hint.kind, _microseconds(hint.run_at)]
    return [*known, hint.priority] if hint.priority else known


def _queue_of(hint: Hint) -> str:
    # Before the others' backlog: the runner's queue is never long.
    if hint.kind in UNLEASED or (hint.priority > 0 and hint.app is None):
        return broker.RUNNER_QUEUE
    return broker.EXECUTOR_QUEUE if hint.app is None else broker.app_queue(hint.app)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _headers(task: str, task_id: str, count: int) -> dict[str, Any]:
    """What makes a message a Celery task (its protocol 2)."""
    return {
        "lang": "py",
        "task": task,
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "argsrepr": f"<{count} hints>",
        "kwargsrepr": "{}",
        "ignore_result": True,
        "origin": "orchestrator",
    }
