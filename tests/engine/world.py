"""An engine with one function on a database, a settable clock and a driver whose answers the test writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orchestrator.clock import SettableClock
from orchestrator.core.event import Event
from orchestrator.core.message import Asked, Returned, SleepAsked, StepDone, StepPlanned, WaitAsked
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.ingest import Ingest
from orchestrator.engine.match import match
from orchestrator.engine.parts import Parts
from orchestrator.engine.recover import recover
from orchestrator.engine.register import register
from orchestrator.engine.work import take, work
from orchestrator.ids import new_ulid
from orchestrator.protocol.sync import parse_registration
from orchestrator.queue.lease import Holdings
from orchestrator.store import due, jobs, runs
from orchestrator.store.database import Database
from orchestrator.store.jobs import Hint
from orchestrator.store.presence import Presence
from tests.store.factories import Heard as Heard

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
REGISTRATION = (
    b'{"appName":"app","url":"http://localhost/x","sdk":"py:v0.5.19","functions":[{"id":"app-fn","name":"fn",'
    b'"triggers":[{"event":"a/b"}],"steps":{"step":{"id":"step","name":"step","runtime":{"type":"http",'
    b'"url":"http://localhost/x?fnId=app-fn&stepId=step"}}}}]}'
)


@dataclass
class Scripted:
    """A driver whose answers the test writes."""

    answer: Callable[[Call], Answer]

    def call(self, call: Call) -> Answer:
        return self.answer(call)


class World:
    """An engine with one function, and the run of one event up to its first call."""

    def __init__(self, database: Database, options: str = "") -> None:
        """`options` are those of the function, as JSON members."""
        self.clock, self.heard, self.driver = SettableClock(NOW), Heard(), Scripted(returned)
        holdings = Holdings(database, Presence(database))
        self.parts = Parts(database, self.clock, self.heard, holdings, self.driver, http=None)  # type: ignore[arg-type]
        self.register(options)
        self._ingest = Ingest(self.parts)
        self.send()

    def register(self, options: str) -> None:
        """Let the app declare its function with these options."""
        body = REGISTRATION.replace(b'"name":"fn",', b'"name":"fn",' + (f"{options},".encode() if options else b""), 1)
        register(self.parts, parse_registration(body, {}))

    def send(self, name: str = "a/b", ahead: timedelta = timedelta(), data: str = "{}") -> None:
        """Take one event in, perhaps of a time to come; it is the one whose run `run` tells of."""
        event = Event(new_ulid(), name, data, int((NOW + ahead).timestamp() * 1000), NOW)
        self._ingest.accept([event])
        self.event_id = event.id

    def start(self) -> None:
        assert [] == match(self.parts, self.heard.take(), room=0)

    def work(self) -> None:
        """Lease what was announced and do it."""
        self.work_on(self.heard.take())

    def work_on(self, job_ids: list[int]) -> None:
        """Lease these jobs and do them."""
        for lease in take(self.parts, job_ids):
            work(self.parts, lease)

    def recover(self) -> None:
        """Find what ran out."""
        recover(self.parts)

    def die(self) -> None:
        """Lease what was announced, and let the lease run out."""
        assert take(self.parts, self.heard.take())
        self.clock.advance(timedelta(seconds=31))
        recover(self.parts)

    def due(self) -> list[Hint]:
        """Whatever is due now."""
        with self.parts.database.read() as conn:
            return due.due(conn, self.clock.now(), self.clock.now(), 100)

    @property
    def run(self) -> runs.StoredRun:
        with self.parts.database.read() as conn:
            [run] = [run for run in runs.of_event(conn, self.event_id) if run.original_run_id is None]
        return run

    def states(self) -> list[int]:
        with self.parts.database.read() as conn:
            return [row.state for row in conn.execute(jobs.jobs.select())]


def returned(call: Call) -> Answer:
    return Answer(Returned(call.target, call.attempt, '"done"'))


def group(width: int, before: int = 0) -> Callable[[Call], Answer]:
    """A function of some steps in sequence, then some in parallel; what each step's call was sent is its output."""

    def answer(call: Call) -> Answer:
        if call.target is not None:
            done = StepDone(call.target, call.target, "StepRun", str(len(call.memo)))
            return Answer(Asked(call.target, call.attempt, (done,)), request_version=2)
        if len(call.memo) < before:
            name = f"before{len(call.memo)}"
            return Answer(Asked(None, call.attempt, (StepDone(name, name, "StepRun", "0"),)), request_version=2)
        if len(call.memo) == before:
            steps = tuple(StepPlanned(f"s{number}", f"s{number}", "StepPlanned") for number in range(width))
            return Answer(Asked(None, call.attempt, steps), request_version=2)
        return Answer(Returned(None, call.attempt, "[" + ",".join(call.memo.values()) + "]"))

    return answer


def waits(call: Call) -> Answer:
    """A function that waits for the event `go` and returns it."""
    if call.memo:
        return Answer(Returned(None, call.attempt, call.memo["w"]), request_version=2)
    asked = WaitAsked("w", "w", "WaitForEvent", "go", NOW + timedelta(hours=1))
    return Answer(Asked(None, call.attempt, (asked,)), request_version=2)


def sleeps(call: Call) -> Answer:
    """A function that sleeps for a minute."""
    if call.memo:
        return Answer(Returned(None, call.attempt, "1"), request_version=2)
    return Answer(Asked(None, call.attempt, (SleepAsked("z", "z", "Sleep", NOW + MINUTE),)), request_version=2)
