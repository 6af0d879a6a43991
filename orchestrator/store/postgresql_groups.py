"""Steps and ends of several runs in one statement: what many threads want written while one write is under way.

They mean the same as the statements for one (see `store.postgresql`), which a lone writer uses.  Rows are found by
LATERAL and by lists of ids, so that the planner reads just these, whatever it thinks of the tables.

Locks: as everywhere the runs first, by id, and then the jobs, by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from orchestrator.core.effect import Finish, SaveStep, Status
from orchestrator.core.event import Event, patterns
from orchestrator.core.failure import fingerprint
from orchestrator.ids import ulid_as_uuid
from orchestrator.store.jobs import Lease
from orchestrator.store.postgresql_slots import FREED, RELEASE

#: What is written together, at most; with the events of each end still one match job.
MOST_TOGETHER = 64
#: So many characters of output count as one more.
_HEAVY = 16 * 1024

STEPS = """
WITH v AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(at int, job bigint, generation int, step text, seq int,
        name text, op text, status text, attempts int, memo text, input text, error text, started_at timestamptz,
        now timestamptz)
    ORDER BY v.job),
j AS MATERIALIZED (
    SELECT v.*, x.run_id FROM v CROSS JOIN LATERAL (
        SELECT run_id FROM jobs WHERE id = v.job AND generation = v.generation AND state = 3 FOR SHARE) x),
s AS (
    INSERT INTO steps (run_id, id, seq, name, op, status, counted, attempts, memo, input, error, started_at, ended_at)
    SELECT run_id, step, seq, name, op, status, false, attempts, memo, input, error, started_at, now FROM j
    ON CONFLICT (run_id, id) DO NOTHING)
SELECT at FROM j
"""

#: After the events `e` that tell of the ends of the runs `u`: one match job, if anybody listens; and they wait no more.
AFTER_ENDS = """
m AS (
    INSERT INTO jobs (kind, key, run_at, state, again, payload)
    SELECT 'match', %(key)s, %(now)s, 2, false, json_agg(e.id)::text FROM e
    WHERE EXISTS (SELECT 1 FROM triggers WHERE event = ANY(%(patterns)s))
        OR EXISTS (SELECT 1 FROM unnest(%(names)s::text[]) AS n(name) WHERE (
            SELECT p.id FROM pauses p WHERE p.event_name = n.name ORDER BY p.event_name, p.term_path LIMIT 1
        ) IS NOT NULL)
    HAVING count(*) > 0
    RETURNING id),
p AS (
    DELETE FROM pauses WHERE id IN (
        SELECT p.id FROM pauses p JOIN u ON u.id = p.run_id ORDER BY p.id FOR UPDATE OF p))"""
_ENDING = """
WITH r AS MATERIALIZED (
    SELECT id FROM runs WHERE id = ANY(%(runs)s) AND status IN ('queued', 'running') ORDER BY id FOR UPDATE),
v AS MATERIALIZED (
    SELECT v.* FROM json_to_recordset(%(rows)s::json) AS v(at int, run uuid, job bigint, generation int, status text,
        output text, error text, failure text, now timestamptz)
    JOIN r ON r.id = v.run ORDER BY v.job),
j AS MATERIALIZED (
    SELECT v.* FROM v CROSS JOIN LATERAL (
        SELECT id FROM jobs WHERE id = v.job AND generation = v.generation AND state = 3 FOR UPDATE) x),
d AS (
    DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT job FROM j))),
u AS (
    UPDATE runs SET status = j.status, output = j.output, error = j.error, failure = j.failure, ended_at = j.now,
        pending = 0, open = 0
    FROM j WHERE runs.id = j.run AND runs.id = ANY(%(runs)s)
    RETURNING runs.id, j.at),
e AS (
    INSERT INTO events (id, name, external_id, ts, payload, received_at)
    SELECT v.id, v.name, v.external_id, v.ts, v.payload, v.received_at FROM json_to_recordset(%(events)s::json)
        AS v(at int, id uuid, name text, external_id text, ts bigint, payload text, received_at timestamptz)
    WHERE v.at IN (SELECT at FROM u)
    RETURNING id),
"""
ENDS = f"{_ENDING}{AFTER_ENDS} SELECT u.at, (SELECT id FROM m) FROM u"
#: The same of runs that give slots back, and the pools at which others wait for them.
LIMITED_ENDS = f"{_ENDING}{AFTER_ENDS}, {RELEASE} SELECT u.at, (SELECT id FROM m), {FREED} FROM u"


@dataclass(frozen=True, slots=True)
class Done:
    """One step done, under a lease."""

    lease: Lease
    step: SaveStep
    seq: int
    now: datetime

    @property
    def weight(self) -> int:
        """What it counts for in a group, in which large outputs must not come together."""
        return 1 + len(self.step.memo or "") // _HEAVY

    def values(self) -> dict[str, Any]:
        """The row, and what fences it."""
        step = self.step
        return {
            "job": self.lease.job_id,
            "generation": self.lease.generation,
            "step": step.id,
            "seq": self.seq,
            "name": step.name[:1024],
            "op": step.op[:32],
            "status": step.status.value,
            "attempts": step.attempts,
            "memo": step.memo,
            "input": step.input,
            "error": step.error,
            "started_at": step.started_at,
            "now": self.now,
        }


@dataclass(frozen=True, slots=True)
class End:
    """The end of a run, under a lease, and the events that tell of it."""

    run_id: str
    lease: Lease
    finish: Finish
    ending: Sequence[Event]
    now: datetime

    @property
    def weight(self) -> int:
        """What it counts for in a group, in which large outputs must not come together."""
        return 1 + len(self.finish.output or "") // _HEAVY

    def values(self) -> dict[str, Any]:
        """What is written to the run, and what fences it."""
        finish = self.finish
        return {
            "run": ulid_as_uuid(self.run_id),
            "job": self.lease.job_id,
            "generation": self.lease.generation,
            "status": finish.status.value,
            "output": finish.output,
            "error": finish.error,
            "failure": fingerprint(finish.error) if finish.status is Status.FAILED else None,
            "now": self.now,
        }


def steps_values(done: Sequence[Done]) -> dict[str, Any]:
    """What `STEPS` asks for; it returns the numbers of those that are stored."""
    return {"rows": as_json([{"at": at, **one.values()} for at, one in enumerate(done)])}


def ends_values(ends: Sequence[End]) -> dict[str, Any]:
    """What `ENDS` asks for; it returns the numbers of those that were written, each with the one match job there is."""
    return {
        "runs": [ulid_as_uuid(end.run_id) for end in ends],
        "rows": as_json([{"at": at, **end.values()} for at, end in enumerate(ends)]),
        "events": as_json([{"at": at, **event_row(event)} for at, end in enumerate(ends) for event in end.ending]),
        "now": ends[-1].now,
        **listeners_values(ends[0].run_id, [event for end in ends for event in end.ending]),
    }


def listeners_values(run_id: str, ending: Sequence[Event]) -> dict[str, Any]:
    """The key of the job that matches the events of ends, and who would have to listen for it to be made."""
    names = {event.name for event in ending}
    return {
        "key": f"match:{ending[0].id if ending else run_id}",
        "names": sorted(names),
        "patterns": sorted({pattern for name in names for pattern in patterns(name)}),
    }


def event_row(event: Event) -> dict[str, object]:
    """A new event."""
    return {
        "id": ulid_as_uuid(event.id),
        "name": event.name,
        "external_id": event.external_id,
        "ts": event.ts,
        "payload": event.wire(),
        "received_at": event.received_at,
    }


def as_json(value: object) -> str:
    """Rows as one parameter."""
    return orjson.dumps(value).decode()
