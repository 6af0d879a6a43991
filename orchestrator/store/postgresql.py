"""The hot path on PostgreSQL: each hop of a run is one statement, and each statement its own transaction.

What a statement does matters little, how many there are matters much (client and server pay 0.1 to 0.3 ms for each).
So the whole of a hop is one CTE, written out here and sent on an autocommit connection.  Everything here has a general
form elsewhere in `store/`, which other databases use, and which is used here for whatever is not the plain case.

Whether a pause waits for a name is asked in the order of the index on it: where most pauses have one name, PostgreSQL
would otherwise rather read the table from its beginning.

Locks: a statement that changes a run takes the run first and then the job, as everywhere; the fence of a step is a
share lock on the job, without which a step of a former holder could land after the next one has read the memo.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import Engine, PoolProxiedConnection

from orchestrator.core.effect import Continue, Finish, SaveStep
from orchestrator.core.event import Event, patterns
from orchestrator.core.run import Decision, Run, has_deferred
from orchestrator.ids import ulid_as_uuid, ulid_from_bytes
from orchestrator.store.events import StoredEvent
from orchestrator.store.group import GroupCommitter
from orchestrator.store.jobs import CALL, MATCH, Hint, Lease, call_key
from orchestrator.store.postgresql_groups import (
    AFTER_ENDS,
    ENDS,
    LIMITED_ENDS,
    MOST_TOGETHER,
    STEPS,
    Done,
    End,
    as_json,
    ends_values,
    event_row,
    listeners_values,
    steps_values,
)
from orchestrator.store.postgresql_slots import HotSlots
from orchestrator.store.runs import NewRun

#: The most events one match job carries.
MATCH_BATCH = 256

_ACCEPT = """
WITH e AS (
    INSERT INTO events (id, name, ts, payload, received_at)
    SELECT id, name, ts, payload, received_at FROM json_to_recordset(%(rows)s::json)
        AS v(id uuid, name text, ts bigint, payload text, received_at timestamptz)
    ON CONFLICT DO NOTHING
    RETURNING id)
INSERT INTO jobs (kind, key, run_at, state, again, payload)
SELECT 'match', 'match:' || min(e.id::text), %(now)s, 2, false, json_agg(e.id)::text FROM e
WHERE EXISTS (SELECT 1 FROM triggers WHERE event = ANY(%(patterns)s))
    OR EXISTS (SELECT 1 FROM unnest(%(names)s::text[]) AS n(name) WHERE
        (SELECT p.id FROM pauses p WHERE p.event_name = n.name ORDER BY p.event_name, p.term_path LIMIT 1) IS NOT NULL)
HAVING count(*) > 0
RETURNING id
"""
_READ = """
SELECT j.id,
    (SELECT p.id FROM pauses p WHERE p.event_name = e.name ORDER BY p.event_name, p.term_path LIMIT 1) IS NOT NULL,
    e.id, e.name, e.external_id, e.ts, e.payload, e.received_at
FROM jobs j CROSS JOIN LATERAL json_array_elements_text(j.payload::json) WITH ORDINALITY AS x(id, at)
LEFT JOIN events e ON e.id = x.id::uuid
WHERE j.id = ANY(%(ids)s) AND j.state + 0 = 2 AND j.kind = 'match'
ORDER BY j.id, x.at
"""
_START = """
WITH m AS (
    DELETE FROM jobs WHERE id = ANY(%(matches)s) AND state + 0 = 2 RETURNING id),
r AS (
    INSERT INTO runs (id, function_id, function_version, event_id, event_name, status, queued_at, started_at, limits)
    SELECT v.id, v.function_id, v.function_version, v.event_id, v.event_name, v.status, %(now)s, v.started_at, v.limits
    FROM json_to_recordset(%(runs)s::json) AS v(match_id bigint, id uuid, function_id text, function_version int,
        event_id uuid, event_name text, status text, started_at timestamptz, limits text)
    WHERE v.match_id IN (SELECT id FROM m)
    ON CONFLICT DO NOTHING
    RETURNING id)
INSERT INTO jobs (kind, key, run_id, run_at, state, generation, again, owner, lease_until)
SELECT 'call', v.key, r.id, v.run_at, v.state, v.generation, false, v.owner, v.lease_until
FROM json_to_recordset(%(calls)s::json) AS v(key text, run_id uuid, run_at timestamptz, state smallint,
    generation int, owner text, lease_until timestamptz)
JOIN r ON r.id = v.run_id
RETURNING id, key
"""
_STEP = """
INSERT INTO steps (run_id, id, seq, name, op, status, counted, attempts, memo, input, error, started_at, ended_at)
SELECT run_id, %(step)s, %(seq)s, %(name)s, %(op)s, %(status)s, false, %(attempts)s, %(memo)s, %(input)s, %(error)s,
    %(started_at)s, %(now)s
FROM jobs WHERE id = %(job)s AND generation = %(generation)s AND state = 3 FOR SHARE
"""
_FINISH = f"""
WITH r AS (
    SELECT id FROM runs WHERE id = %(run)s AND status IN ('queued', 'running') FOR UPDATE),
j AS (
    DELETE FROM jobs WHERE id = %(job)s AND generation = %(generation)s AND state = 3 AND run_id IN (SELECT id FROM r)
    RETURNING run_id),
u AS (
    UPDATE runs
    SET status = %(status)s, output = %(output)s, error = %(error)s, failure = %(failure)s, ended_at = %(now)s,
        pending = 0, open = 0
    FROM j WHERE runs.id = j.run_id RETURNING runs.id),
e AS (
    INSERT INTO events (id, name, external_id, ts, payload, received_at)
    SELECT v.id, v.name, v.external_id, v.ts, v.payload, v.received_at FROM json_to_recordset(%(events)s::json)
        AS v(id uuid, name text, external_id text, ts bigint, payload text, received_at timestamptz)
    WHERE EXISTS (SELECT 1 FROM u)
    RETURNING id),
{AFTER_ENDS}
SELECT (SELECT count(*) FROM u), (SELECT id FROM m)
"""


@dataclass(frozen=True, slots=True)
class FirstCall:
    """The first call of a new run: leased to its maker at once, or to be announced for `at`."""

    match_job_id: int
    run: NewRun
    at: datetime
    at_once: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one statement came to.  `hint` is to be announced."""

    accepted: bool
    hint: Hint | None = None
    #: Pools with a slot for somebody who waits.
    freed: frozenset[str] = frozenset()


class HotPath:
    """The statements, on connections of their own that never hold a transaction open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.slots = HotSlots(self.run, _is_about_the_data)
        self._lock = threading.Lock()
        self._spare: PoolProxiedConnection | None = None
        self._steps = GroupCommitter[Done, Outcome](
            self._write_steps, max_items=MOST_TOGETHER, weight=lambda done: done.weight, apart=_is_about_the_data
        )
        self._ends, self._limited_ends = (
            GroupCommitter[End, Outcome](
                write, max_items=MOST_TOGETHER, weight=lambda end: end.weight, apart=_is_about_the_data
            )
            for write in (self._write_ends, self._write_limited_ends)
        )

    def accept(self, received: Sequence[Event], now: datetime) -> Hint | None:
        """Write events without senders' ids, those that are new, with the job that matches them if anybody listens.

        The job is called after an event that is new: one that came before may have a job of its own, which waits still.
        """
        names = {event.name for event in received}
        rows = self._run(
            _ACCEPT,
            {
                "rows": as_json([event_row(event) for event in received]),
                "now": now,
                "names": sorted(names),
                "patterns": sorted({pattern for name in names for pattern in patterns(name)}),
            },
        )
        return Hint(rows[0][0], MATCH, now) if rows else None

    def matching(self, job_ids: Sequence[int]) -> dict[int, list[StoredEvent]]:
        """The events of those of the match jobs that nobody has done yet; other jobs are left out."""
        found = dict[int, list[StoredEvent]]()
        for job_id, awaited, event_id, name, external_id, ts, payload, received_at in self._run(
            _READ, {"ids": list(job_ids)}
        ):
            events = found.setdefault(job_id, [])
            if event_id is not None:
                event_ulid = ulid_from_bytes(event_id.bytes)
                events.append(StoredEvent(event_ulid, name, external_id, ts, payload, received_at, awaited=awaited))
        return found

    def start(
        self, match_jobs: Sequence[int], calls: Sequence[FirstCall], owner: str, now: datetime, until: datetime
    ) -> tuple[list[Lease], list[Hint]]:
        """End match jobs and write the runs they start; a job that somebody else ended starts nothing here."""
        runs = [_run_row(call) for call in calls]
        rows = self._run(
            _START,
            {
                "matches": list(match_jobs),
                "runs": as_json(runs),
                "calls": as_json([_call_row(call, owner, until) for call in calls]),
                "now": now,
            },
        )
        made = {key: job_id for job_id, key in rows}
        leases, hints = list[Lease](), list[Hint]()
        for call in calls:
            key = call_key(call.run.id)
            if key in made and call.at_once:
                leases.append(Lease(made[key], 1, CALL, key, call.run.id))
            elif key in made:
                hints.append(Hint(made[key], CALL, call.at))
        return leases, hints

    def settle(
        self, lease: Lease, before: Run, decision: Decision, ending: list[Event], now: datetime, *, limited: bool
    ) -> Outcome | None:
        """Write a decision of the plain kind, made on a run that the lease holder knows for certain.

        `limited` says that its calls need slots, which its end gives back.
        None: it is not of that kind (one fresh step done, or the end, of a run that has nothing else open).
        """
        if lease.step_id is not None or lease.attempt or lease.crashes or before.open:
            return None
        match decision.effects, decision.then:
            case (SaveStep(fresh=True) as step,), Continue() if step.status.done:
                return self._steps.submit(Done(lease, step, before.last_seq + 1, now))
            case (Finish() as finish,), _ if not has_deferred(before):
                ends = self._limited_ends if limited else self._ends
                return ends.submit(End(before.id, lease, finish, ending, now))
            case _:
                return None

    def _write_steps(self, done: list[Done]) -> list[Outcome]:
        if len(done) == 1:
            return [Outcome(accepted=self._count(_STEP, done[0].values()) == 1)]
        stored = {row[0] for row in self._run(STEPS, steps_values(done))}
        return [Outcome(accepted=at in stored) for at in range(len(done))]

    def _write_ends(self, ends: list[End]) -> list[Outcome]:
        if len(ends) == 1:
            return [self._end(ends[0])]
        return _outcomes(ends, self._run(ENDS, ends_values(ends)))

    def _write_limited_ends(self, ends: list[End]) -> list[Outcome]:
        rows = self._run(LIMITED_ENDS, ends_values(ends))
        outcomes = _outcomes(ends, rows)
        if rows:
            [at, _, freed] = rows[0]
            outcomes[at] = replace(outcomes[at], freed=frozenset(freed or ()))
        return outcomes

    def _end(self, end: End) -> Outcome:
        values = end.values() | {"events": as_json([event_row(event) for event in end.ending])}
        values |= listeners_values(end.run_id, end.ending)
        ended, match_job = self._run(_FINISH, values)[0]
        return Outcome(ended == 1, Hint(match_job, MATCH, end.now) if match_job is not None else None)

    def run(self, statement: str, values: dict[str, Any]) -> list[Any]:
        """Send one statement, which may come twice, as its own transaction; returns the rows that it gives."""
        return self._run(statement, values)

    def _run(self, statement: str, values: dict[str, Any]) -> list[Any]:
        cursor = self._execute(statement, values)
        return list(cursor)

    def _count(self, statement: str, values: dict[str, Any]) -> int:
        count: int = self._execute(statement, values).rowcount
        return count

    def _execute(self, statement: str, values: dict[str, Any]) -> Any:
        """Send a statement; once more when the connection turns out to be dead, as all are after a restart.

        Each statement may be sent twice: what the first one committed after all makes the second one do nothing, or
        fail on a key that only the lease holder can have written.
        """
        try:
            return self._send(statement, values)
        except psycopg.OperationalError:
            self.close()
            self._engine.dispose()
        try:
            return self._send(statement, values)
        except psycopg.errors.UniqueViolation:
            if statement is not _STEP:
                raise
            return _Stored()

    def _send(self, statement: str, values: dict[str, Any]) -> Any:
        connection = self._take_spare() or self._engine.raw_connection()
        try:
            cursor: Any = connection.cursor()
            cursor.execute(statement, values)
        except psycopg.OperationalError:
            connection.invalidate()
            raise
        except BaseException:
            connection.close()
            raise
        if not self._spared(connection):
            connection.close()
        return cursor

    def _take_spare(self) -> PoolProxiedConnection | None:
        with self._lock:
            spare, self._spare = self._spare, None
        return spare

    def _spared(self, connection: PoolProxiedConnection) -> bool:
        """Keep one connection for the next statement: to hand it to the pool and back costs a fifth of a step."""
        with self._lock:
            if self._spare is not None:
                return False
            self._spare = connection
            return True

    def close(self) -> None:
        """Give the connection that is kept back to the pool."""
        spare = self._take_spare()
        if spare is not None:
            spare.close()


def _outcomes(ends: Sequence[End], rows: Sequence[Any]) -> list[Outcome]:
    """What came of ends that were written together; there is one match job for all, and one of them announces it."""
    ended = {row[0] for row in rows}
    outcomes = [Outcome(accepted=at in ended) for at in range(len(ends))]
    match_job = rows[0][1] if rows else None
    if match_job is not None:
        outcomes[rows[0][0]] = Outcome(accepted=True, hint=Hint(match_job, MATCH, ends[-1].now))
    return outcomes


class _Stored:
    """Tells that the one row was stored."""

    rowcount = 1


def _is_about_the_data(error: Exception) -> bool:
    return isinstance(error, psycopg.IntegrityError | psycopg.DataError)


def _run_row(call: FirstCall) -> dict[str, object]:
    run = call.run
    return {
        "match_id": call.match_job_id,
        "id": ulid_as_uuid(run.id),
        "function_id": run.function_id,
        "function_version": run.function_version,
        "event_id": ulid_as_uuid(run.event_id),
        "event_name": run.event_name,
        "status": run.status.value,
        "started_at": run.started_at,
        "limits": run.limits,
    }


def _call_row(call: FirstCall, owner: str, until: datetime) -> dict[str, object]:
    return {
        "key": call_key(call.run.id),
        "run_id": ulid_as_uuid(call.run.id),
        "run_at": call.at,
        "state": 3 if call.at_once else 2,
        "generation": 1 if call.at_once else 0,
        "owner": owner if call.at_once else None,
        "lease_until": until if call.at_once else None,
    }
