"""Events that hit pauses, on PostgreSQL: ending match jobs, taking pauses and adding resume jobs is one statement.

As with everything of a match job, who finds the job gone writes nothing; and a pause that somebody else has taken in
the meantime has its answer.  Its general form is in `engine.hit` and `store.pauses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from orchestrator.ids import ulid_as_uuid
from orchestrator.store.apply import Holder
from orchestrator.store.jobs import LEASED, READY, RESUME, Hint, Lease
from orchestrator.store.postgresql import HotPath
from orchestrator.store.postgresql_groups import as_json

HIT = """
WITH m AS (
    DELETE FROM jobs WHERE id = ANY(%(matches)s) AND state + 0 = 2 RETURNING id),
v AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(at int, match bigint, pause uuid, key text, run uuid,
        step text, payload text, state smallint, generation int, owner text, lease_until timestamptz)
    WHERE match IN (SELECT id FROM m)),
q AS MATERIALIZED (
    SELECT id FROM pauses WHERE id = ANY(ARRAY(SELECT pause FROM v)) ORDER BY id FOR UPDATE),
p AS (
    DELETE FROM pauses WHERE id = ANY(ARRAY(SELECT id FROM q)) RETURNING id)
INSERT INTO jobs (kind, key, run_id, step_id, run_at, payload, state, generation, again, owner, lease_until)
SELECT 'resume', v.key, v.run, v.step, %(now)s, v.payload, v.state, v.generation, false, v.owner, v.lease_until
FROM v JOIN p ON p.id = v.pause ORDER BY v.at
RETURNING id, key
"""


@dataclass(frozen=True, slots=True)
class PauseHit:
    """A pause that gets its answer from an event, by way of a match job."""

    match_job_id: int
    pause_id: str
    run_id: str
    step_id: str
    answer: str

    @property
    def key(self) -> str:
        """The key of the job that resumes the run."""
        return f"resume:{self.pause_id}"


def write_hits(
    hot: HotPath, match_jobs: Sequence[int], hits: Sequence[PauseHit], by: Holder, room: int
) -> tuple[list[Lease], list[Hint]]:
    """End match jobs and add the resume jobs they lead to, the first ones, `room` at most, leased to `by`.

    Every pause must be hit but once.
    """
    rows = [_row(at, hit, by if at < room else None) for at, hit in enumerate(hits)]
    made = {key: job_id for job_id, key in hot.run(HIT, _values(match_jobs, rows, by))}
    leases = [
        Lease(made[hit.key], 1, RESUME, hit.key, hit.run_id, hit.step_id, payload=hit.answer)
        for hit in hits[:room]
        if hit.key in made
    ]
    return leases, [Hint(made[hit.key], RESUME, by.now) for hit in hits[room:] if hit.key in made]


def _values(match_jobs: Sequence[int], rows: Sequence[dict[str, object]], by: Holder) -> dict[str, object]:
    return {"matches": list(match_jobs), "rows": as_json(rows), "now": by.now}


def _row(at: int, hit: PauseHit, holder: Holder | None) -> dict[str, object]:
    return {
        "at": at,
        "match": hit.match_job_id,
        "pause": ulid_as_uuid(hit.pause_id),
        "key": hit.key,
        "run": ulid_as_uuid(hit.run_id),
        "step": hit.step_id,
        "payload": hit.answer,
        "state": READY if holder is None else LEASED,
        "generation": 0 if holder is None else 1,
        "owner": holder.owner if holder is not None else None,
        "lease_until": holder.until if holder is not None else None,
    }


def answer_of(event_id: str) -> str:
    """The payload of a resume job that an event leads to."""
    return orjson.dumps({"event": event_id}).decode()
