"""Ends of planned steps: all that come while a write is under way are written together, by one statement or few.

The steps of a group all count in their run's row, so that each end waits for the one before it to be committed; and for
a lone end most of the price is the statements, not what they do.  An end means the same as what `store.apply` makes of
the decision on it: the job is the fence, the outcome is numbered, the run's counts go down, and when nothing is pending
any more, or the step was one of a race, the function is to be discovered, once.

Locks are taken in the order of everybody: runs by id, then jobs by id, then steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, literal_column, select, update

from orchestrator.core.effect import SaveStep, StepStatus
from orchestrator.ids import ulid_as_uuid
from orchestrator.store import jobs
from orchestrator.store.apply import Holder
from orchestrator.store.group import GroupCommitter
from orchestrator.store.jobs import CALL, IS_LEASED, Lease, call_key
from orchestrator.store.postgresql import HotPath, as_json
from orchestrator.store.tables import jobs as jobs_table
from orchestrator.store.tables import runs, steps

#: Ends written together.
MOST_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class StepEnd:
    """The outcome of a planned step, by the holder of its call."""

    lease: Lease
    step: SaveStep
    by: Holder

    @property
    def fence(self) -> tuple[int, int]:
        """The job and the generation that the lease is of."""
        return self.lease.job_id, self.lease.generation


@dataclass(frozen=True, slots=True)
class StepEnded:
    """What came of it.  `discovery` is the call that this was the last step to be waited for by."""

    accepted: bool
    discovery: Lease | None = None


class StepEnds:
    """Where the ends of one process's planned steps come together."""

    def __init__(
        self,
        hot: HotPath | None,
        write: Callable[[], AbstractContextManager[Connection]],
        apart: Callable[[Exception], bool],
    ) -> None:
        """`hot` does it in one statement; without it a transaction of `write` does.  `apart`: see `GroupCommitter`."""
        self._hot = hot
        self._transaction = write
        self._committer = GroupCommitter[StepEnd, StepEnded](self.write, max_items=MOST_TOGETHER, apart=apart)

    def end(self, end: StepEnd) -> StepEnded:
        """Write one end, perhaps with others; a lease that is lost, or a run that is over, changes nothing."""
        return self._committer.submit(end)

    def write(self, ends: Sequence[StepEnd]) -> list[StepEnded]:
        """Write ends, all by one holder, together; of several by one lease the first."""
        first = dict[tuple[int, int], StepEnd]()
        for end in ends:
            first.setdefault(end.fence, end)
        unique = list(first.values())
        if self._hot is not None:
            written = write_hot(self._hot, unique)
        else:
            with self._transaction() as conn:
                written = write_all(conn, unique)
        found = dict(zip(first, written, strict=True))
        return [found.pop(end.fence, StepEnded(accepted=False)) for end in ends]


END = """
WITH r AS MATERIALIZED (
    SELECT id, last_seq FROM runs WHERE id = ANY(%(runs)s) AND status IN ('queued', 'running') ORDER BY id FOR UPDATE),
v AS MATERIALIZED (
    SELECT v.*, r.last_seq FROM json_to_recordset(%(rows)s::json) AS v(at int, job bigint, generation int, run uuid,
        step text, key text, status text, attempts int, memo text, input text, error text, started_at timestamptz)
    JOIN r ON r.id = v.run ORDER BY v.job),
j AS MATERIALIZED (
    SELECT v.*, t.counted FROM v
    CROSS JOIN LATERAL (
        SELECT id FROM jobs WHERE id = v.job AND generation = v.generation AND state = 3 FOR UPDATE) x
    LEFT JOIN LATERAL (
        SELECT counted FROM steps WHERE run_id = v.run AND id = v.step AND status = 'planned' FOR UPDATE) t ON true),
d AS (
    DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT job FROM j))),
s AS (
    UPDATE steps SET seq = e.last_seq + e.nth, status = e.status, attempts = e.attempts, memo = e.memo,
        input = coalesce(e.input, steps.input), error = e.error, started_at = coalesce(e.started_at, steps.started_at),
        ended_at = %(now)s
    FROM (SELECT *, row_number() OVER (PARTITION BY run ORDER BY at) AS nth FROM j WHERE counted IS NOT NULL) e
    WHERE steps.run_id = e.run AND steps.id = e.step),
u AS (
    UPDATE runs SET pending = runs.pending - c.counted, open = runs.open - c.ended, last_seq = runs.last_seq + c.ended
    FROM (
        SELECT run, key, count(*) AS ended, count(*) FILTER (WHERE counted) AS counted
        FROM j WHERE counted IS NOT NULL GROUP BY run, key) c
    WHERE runs.id = c.run AND runs.id = ANY(%(runs)s)
    RETURNING runs.id, c.key, runs.pending = 0 OR c.ended > c.counted AS discover),
n AS (
    INSERT INTO jobs (kind, key, run_id, run_at, state, generation, again, owner, lease_until)
    SELECT 'call', key, id, %(now)s, 3, 1, false, %(owner)s, %(until)s FROM u WHERE discover
    ON CONFLICT (key) DO UPDATE SET again = true
    RETURNING id, run_id, again)
SELECT j.at, (SELECT n.id FROM n WHERE n.run_id = j.run AND NOT n.again) FROM j ORDER BY j.at
"""


def write_hot(hot: HotPath, ends: Sequence[StepEnd]) -> list[StepEnded]:
    """Write ends, all by one holder, in one statement of PostgreSQL."""
    rows = hot.run(END, values_of(ends))
    discoveries = {_run_id(ends[at]): job_id for at, job_id in rows}
    return _outcomes(ends, {at for at, _ in rows}, discoveries)


def values_of(ends: Sequence[StepEnd]) -> dict[str, Any]:
    """What `END` asks for."""
    by = ends[-1].by
    return {
        "runs": sorted({ulid_as_uuid(_run_id(end)) for end in ends}),
        "rows": as_json([_row(at, end) for at, end in enumerate(ends)]),
        "now": by.now,
        "owner": by.owner,
        "until": by.until,
    }


_LIVE = runs.c.status.in_([literal_column("'queued'"), literal_column("'running'")])
_IS_PLANNED = steps.c.status == literal_column("'planned'")
_HELD = (
    select(jobs_table.c.id, jobs_table.c.generation, runs.c.pending, runs.c.open, runs.c.last_seq, steps.c.counted)
    .join(runs, runs.c.id == jobs_table.c.run_id)
    .outerjoin(steps, (steps.c.run_id == jobs_table.c.run_id) & (steps.c.id == jobs_table.c.step_id) & _IS_PLANNED)
    .where(jobs_table.c.id.in_(bindparam("ids", expanding=True)), IS_LEASED, _LIVE)
)
_END_JOBS = delete(jobs_table).where(jobs_table.c.id.in_(bindparam("ids", expanding=True)))
_END_STEP = (
    update(steps)
    .where(steps.c.run_id == bindparam("of_run"), steps.c.id == bindparam("of_step"))
    .values(
        seq=bindparam("nth"),
        status=bindparam("outcome"),
        attempts=bindparam("tries"),
        memo=bindparam("result"),
        input=func.coalesce(bindparam("given"), steps.c.input),
        error=bindparam("why"),
        started_at=func.coalesce(bindparam("began", type_=steps.c.started_at.type), steps.c.started_at),
        ended_at=bindparam("now"),
    )
)
_COUNT = (
    update(runs)
    .where(runs.c.id == bindparam("of_run"))
    .values(pending=bindparam("now_pending"), open=bindparam("now_open"), last_seq=bindparam("last"))
)


def write_all(conn: Connection, ends: Sequence[StepEnd]) -> list[StepEnded]:
    """Write ends, all by one holder, in a transaction of SQLite, whose one writer needs no locks."""
    rows = {row.id: row for row in conn.execute(_HELD, {"ids": [end.lease.job_id for end in ends]})}
    accepted = {
        at: rows[end.lease.job_id]
        for at, end in enumerate(ends)
        if end.lease.job_id in rows and rows[end.lease.job_id].generation == end.lease.generation
    }
    if not accepted:
        return [StepEnded(accepted=False) for _ in ends]
    conn.execute(_END_JOBS, {"ids": [row.id for row in accepted.values()]})
    planned = {at: row for at, row in accepted.items() if row.counted is not None}
    discoveries = dict(_write_planned(conn, ends, planned)) if planned else {}
    return _outcomes(ends, accepted.keys(), discoveries)


def _write_planned(
    conn: Connection, ends: Sequence[StepEnd], planned: Mapping[int, Any]
) -> Iterator[tuple[str, int | None]]:
    """Write steps and counts; gives the discovery jobs made on the way."""
    ended, counted = Counter[str](), Counter[str]()
    before = dict[str, Any]()
    outcomes = []
    for at, row in planned.items():
        run_id = _run_id(ends[at])
        before[run_id] = row
        ended[run_id] += 1
        counted[run_id] += row.counted
        outcomes.append(_outcome(ends[at], row.last_seq + ended[run_id]))
    conn.execute(_END_STEP, outcomes)
    counts = [
        {
            "of_run": run_id,
            "now_pending": row.pending - counted[run_id],
            "now_open": row.open - ended[run_id],
            "last": row.last_seq + ended[run_id],
        }
        for run_id, row in before.items()
    ]
    conn.execute(_COUNT, counts)
    by = ends[-1].by
    for run_id, row in before.items():
        if (row.pending == counted[run_id] or ended[run_id] > counted[run_id]) and not jobs.mark_again(
            conn, call_key(run_id)
        ):
            made = jobs.add_leased(conn, CALL, call_key(run_id), run_id, by.owner, by.now, by.until)
            yield run_id, made.job_id


def _outcomes(
    ends: Sequence[StepEnd], accepted: Collection[int], discoveries: dict[str, int | None]
) -> list[StepEnded]:
    """Each end's outcome; a discovery goes to the last of its run."""
    found = list[StepEnded]()
    for at in reversed(range(len(ends))):
        run_id = _run_id(ends[at])
        job_id = discoveries.pop(run_id, None) if at in accepted else None
        lease = Lease(job_id, 1, CALL, call_key(run_id), run_id) if job_id is not None else None
        found.append(StepEnded(at in accepted, lease))
    return found[::-1]


def _run_id(end: StepEnd) -> str:
    assert end.lease.run_id is not None, "a planned step is one of a run"
    return end.lease.run_id


def _error(step: SaveStep) -> str | None:
    return None if step.status is StepStatus.COMPLETED else step.error


def _row(at: int, end: StepEnd) -> dict[str, object]:
    step = end.step
    return {
        "at": at,
        "job": end.lease.job_id,
        "generation": end.lease.generation,
        "run": ulid_as_uuid(_run_id(end)),
        "step": step.id,
        "key": call_key(_run_id(end)),
        "status": step.status.value,
        "attempts": step.attempts,
        "memo": step.memo,
        "input": step.input,
        "error": _error(step),
        "started_at": step.started_at,
    }


def _outcome(end: StepEnd, seq: int) -> dict[str, object]:
    step = end.step
    return {
        "of_run": _run_id(end),
        "of_step": step.id,
        "nth": seq,
        "outcome": step.status.value,
        "tries": step.attempts,
        "result": step.memo,
        "given": step.input,
        "why": _error(step),
        "began": step.started_at,
        "now": end.by.now,
    }
