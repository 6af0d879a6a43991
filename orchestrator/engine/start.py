"""Start runs: what matching decided becomes runs with their first calls, in the transaction that ends the match jobs.

A first call is born leased to this worker where it has room for it, and announced otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import orjson

from orchestrator import log
from orchestrator.core.concurrency import needs
from orchestrator.core.effect import Status
from orchestrator.core.function import Function, Timeouts
from orchestrator.engine.branch import Branch, Held
from orchestrator.engine.hit import Hit, InvocationKey, write_hits
from orchestrator.engine.parts import Parts
from orchestrator.engine.pause import cancel_pauses, missing_function
from orchestrator.engine.versions import Versions
from orchestrator.store import events, jobs, keys, pauses, run_timeouts, runs
from orchestrator.store.apply import Holder, answer_invoker, call_key
from orchestrator.store.database import Connection
from orchestrator.store.events import StoredEvent
from orchestrator.store.hits import PauseHit, answer_of
from orchestrator.store.hits import write_hits as write_hits_hot
from orchestrator.store.jobs import Hint, Lease
from orchestrator.store.pauses import Pause
from orchestrator.store.postgresql import FirstCall, HotPath
from orchestrator.store.runs import NewRun

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """A run to be started, `at` perhaps in the future."""

    run: NewRun
    at: datetime
    slug: str
    external_id: str | None
    #: What will cancel it.
    cancels: Sequence[Pause] = ()
    timeouts: Timeouts = field(default=Timeouts())
    #: When it must have begun, if there is such a time.
    start_by: datetime | None = None
    #: What went wrong in planning it, to be kept with the event.
    warnings: Sequence[str] = ()

    @property
    def plain(self) -> bool:
        """Whether nothing but the run and its first call has to be written."""
        bare = self.external_id is None and self.run.correlation_id is None
        return bare and not self.cancels and not self.timeouts


@dataclass(slots=True)
class Outcome:
    """What matching one event came to."""

    event: StoredEvent
    starts: list[Start] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    #: The event invokes a function that does not exist.
    refused: InvocationKey | None = None

    @property
    def plain(self) -> bool:
        """Whether nothing but runs has to be written."""
        rest = self.warnings or self.hits or self.refused
        return not rest and all(start.plain for start in self.starts)

    @property
    def only_resumes(self) -> bool:
        """Whether nothing but answers to pauses has to be written."""
        rest = self.warnings or self.starts or self.refused
        return not rest and all(hit.step_id is not None for hit in self.hits)


def start(parts: Parts, decided: Mapping[int, Sequence[Outcome]], room: int, now: datetime) -> list[Held]:
    """Write what the match jobs came to; returns the calls that this worker holds now."""
    outcomes = [outcome for batch in decided.values() for outcome in batch]
    # Runs under way come before new ones.
    resumed = min(room, sum(len(outcome.hits) for outcome in outcomes))
    at_once = chosen(outcomes, room - resumed, now)
    by = parts.holder()
    hot = parts.database.hot
    if hot is not None and all(outcome.plain for outcome in outcomes):
        leases, hints = _start_hot(hot, decided, at_once, by)
    elif hot is not None and all(outcome.only_resumes for outcome in outcomes):
        leases, hints = _resume_hot(hot, decided, resumed, by)
    else:
        with parts.database.write() as conn:
            outcomes = [it for job_id, batch in decided.items() if jobs.take_match(conn, job_id) for it in batch]
            leases, hints = write(conn, outcomes, at_once, by, resumed)
    parts.announcer.announce(hints)
    for outcome in outcomes:
        _tell(outcome)
    return held(parts, outcomes, leases, now)


def planned(
    versions: Versions, conn: Connection, run: NewRun, event: StoredEvent, at: datetime, slug: str, now: datetime
) -> Start:
    """A run that the event starts, to begin at `at`, with what may end it early."""
    function = versions.function(conn, run.function_id, run.function_version)
    if function is None:
        return Start(run, at, slug, event.external_id)
    cancels, timeouts = cancel_pauses(run.id, function.cancels, event.payload, now), function.timeouts
    start_by = at + timeouts.start if timeouts.start is not None else None
    run, warnings = _with_limits(run, function, event.payload)
    return Start(run, at, slug, event.external_id, cancels, timeouts, start_by, warnings)


def _with_limits(run: NewRun, function: Function, event: str) -> tuple[NewRun, list[str]]:
    """The run with the slots its calls will need, and warnings of keys without a value for its event (JSON text)."""
    if not function.concurrency:
        return run, []
    wanted, warnings = needs(run.function_id, function.concurrency, orjson.loads(event))
    told = [f'"{function.slug}": {warning}' for warning in warnings]
    return (replace(run, limits=wanted.text()) if wanted is not None else run), told


def chosen(outcomes: Sequence[Outcome], room: int, now: datetime) -> set[str]:
    """Choose the runs whose first call is to begin here and now, `room` at most."""
    due = [start.run.id for outcome in outcomes for start in outcome.starts if start.at <= now]
    return set(due[:room])


def _running(run: NewRun, at_once: set[str], now: datetime) -> NewRun:
    """The run as it begins; one that needs slots is queued until it has them."""
    if run.id not in at_once or run.limits is not None:
        return run
    return replace(run, status=Status.RUNNING, started_at=now)


def _start_hot(
    hot: HotPath, decided: Mapping[int, Sequence[Outcome]], at_once: set[str], by: Holder
) -> tuple[list[Lease], list[Hint]]:
    calls = [
        FirstCall(job_id, _running(start.run, at_once, by.now), start.at, start.run.id in at_once)
        for job_id, batch in decided.items()
        for outcome in batch
        for start in outcome.starts
    ]
    return hot.start(list(decided), calls, by.owner, by.now, by.until)


def _resume_hot(
    hot: HotPath, decided: Mapping[int, Sequence[Outcome]], room: int, by: Holder
) -> tuple[list[Lease], list[Hint]]:
    hits = dict[str, PauseHit]()
    for job_id, batch in decided.items():
        for hit in (hit for outcome in batch for hit in outcome.hits):
            told = PauseHit(job_id, hit.pause_id, hit.run_id, hit.step_id or "", answer_of(hit.event_id))
            hits.setdefault(hit.pause_id, told)  # the first event of each wins
    return write_hits_hot(hot, list(decided), list(hits.values()), by, room)


def write(
    conn: Connection, outcomes: Sequence[Outcome], at_once: set[str], by: Holder, resumed: int = 0
) -> tuple[list[Lease], list[Hint]]:
    """Write the runs with their first calls, and leave those out of `outcomes` that are repeats.

    Of the runs that are resumed `resumed` at most go on here and now.
    """
    _leave_out_repeats(conn, outcomes, by.now)
    for outcome in outcomes:
        if outcome.warnings:
            events.warn(conn, outcome.event.id, "\n".join(outcome.warnings))
    starts = [start for outcome in outcomes for start in outcome.starts]
    if starts:
        runs.add(conn, [_running(start.run, at_once, by.now) for start in starts])
    leases, hints = write_hits(conn, [hit for outcome in outcomes for hit in outcome.hits], by, resumed)
    for outcome in outcomes:
        if outcome.refused is not None:
            answer = {"error": missing_function(outcome.refused.function)}
            hints += answer_invoker(conn, outcome.refused.correlation_id, answer, by.now)
    pauses.add(conn, [pause for start in starts for pause in start.cancels], by.now)
    for start in starts:
        key = call_key(start.run.id)
        if start.timeouts:
            begins = start.run.id in at_once and start.run.limits is None
            hints += _write_timeout(conn, start, begins, by.now)
        if start.run.id in at_once:
            leases.append(jobs.add_leased(conn, jobs.CALL, key, start.run.id, by.owner, by.now, by.until))
        else:
            hints.append(jobs.add(conn, jobs.CALL, key, start.at, run_id=start.run.id))
    return leases, hints


def _write_timeout(conn: Connection, start: Start, begins: bool, now: datetime) -> list[Hint]:
    if begins:
        return run_timeouts.begin(conn, start.run.id, start.timeouts, now)
    if start.start_by is None:
        return []
    return [run_timeouts.add(conn, start.run.id, start.timeouts, "start", start.start_by)]


def _leave_out_repeats(conn: Connection, outcomes: Sequence[Outcome], now: datetime) -> None:
    """A sender's id starts a function once within the window, also by way of two event names.

    Keys are claimed in one order by everybody, so that two who want the same ones do not wait for each other.
    """
    claims = sorted(
        (("start", start.run.function_id, start.external_id), start.run.id)
        for outcome in outcomes
        for start in outcome.starts
        if start.external_id is not None
    )
    repeats = {run_id for scope, run_id in claims if keys.claim(conn, scope, run_id, now, now + keys.WINDOW) != run_id}
    for outcome in outcomes:
        outcome.starts = [start for start in outcome.starts if start.run.id not in repeats]


def held(parts: Parts, outcomes: Sequence[Outcome], leases: Sequence[Lease], now: datetime) -> list[Held]:
    """Hand over the leases, with what is known of their runs already: they were written a moment ago."""
    made = {start.run.id: (start, outcome.event) for outcome in outcomes for start in outcome.starts}
    calls = []
    for lease in leases:
        if lease.run_id not in made:
            calls.append(Held(lease))
            continue
        start, event = made[lease.run_id or ""]
        run = _running(start.run, {start.run.id}, now)
        calls.append(Held(lease, Branch.of_new(parts, run, start.slug, event.payload)))
    return calls


def _tell(outcome: Outcome) -> None:
    event = outcome.event
    _log.info("event matched", event=event.name, event_id=event.id, functions=[it.slug for it in outcome.starts])
    for start in outcome.starts:
        _log.info("run started", run_id=start.run.id, function=start.slug, at=start.at)
    for warning in outcome.warnings:
        _log.warning("expression failed", event_id=event.id, warning=warning)
