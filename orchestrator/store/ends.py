"""Ends of open steps: all that come while a write is under way are written together, by one statement or few.

The steps of a run all count in its row, so that each end waits for the one before it to be committed; and for a lone
end most of the price is the statements, not what they do.  An end means the same as what `store.apply` makes of the
decision on it: the job is the fence, the outcome is numbered, the run's counts go down, and when nothing is pending any
more, or the step was one of a race, the function is to be discovered, once.

Locks are taken in the order of everybody: runs by id, then jobs by id, then steps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, func, literal_column, select, update

from orchestrator.core.effect import SaveStep, StepStatus
from orchestrator.ids import ulid_as_uuid
from orchestrator.store import jobs
from orchestrator.store.apply import Holder
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.group import GroupCommitter
from orchestrator.store.jobs import CALL, THIS_IS_LEASED, Lease, call_key
from orchestrator.store.pauses import timeout_key
from orchestrator.store.postgresql import HotPath
from orchestrator.store.postgresql_groups import as_json
from orchestrator.store.tables import jobs as jobs_table
from orchestrator.store.tables import runs, steps

#: Ends written together.
MOST_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class StepEnd:
    """The outcome of an open step, by the holder of the job that stands for it; `was`: what the step is until then."""

    lease: Lease
    step: SaveStep
    by: Holder
    was: StepStatus = StepStatus.PLANNED

    @property
    def fence(self) -> tuple[int, int]:
        """The job and the generation that the lease is of."""
        return self.lease.job_id, self.lease.generation


@dataclass(frozen=True, slots=True)
class StepEnded:
    """What came of it.  `discovery` is the call of the function that is due now, for who ended the step to make."""

    accepted: bool
    discovery: Lease | None = None
    #: Of the run, with the discovery: the outcome memoised last, and the steps still open.
    last_seq: int = 0
    open: int = 0


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
        written = write_hot(self._hot, unique) if self._hot is not None else self._write_apart(unique)
        found = dict(zip(first, written, strict=True))
        return [found.pop(end.fence, StepEnded(accepted=False)) for end in ends]

    @undisturbed
    def _write_apart(self, ends: Sequence[StepEnd]) -> list[StepEnded]:
        with self._transaction() as conn:
            return write_all(conn, ends)


END = """
WITH r AS MATERIALIZED (
    SELECT id, last_seq FROM runs WHERE id = ANY(%(runs)s) AND status IN ('queued', 'running') ORDER BY id FOR UPDATE),
v AS MATERIALIZED (
    SELECT v.*, r.last_seq FROM json_to_recordset(%(rows)s::json) AS v(at int, job bigint, generation int, run uuid,
        step text, was text, late text, key text, status text, attempts int, memo text, input text, error text,
        started_at timestamptz, event uuid)
    JOIN r ON r.id = v.run ORDER BY v.job),
j AS MATERIALIZED (
    SELECT v.*, t.counted FROM v
    CROSS JOIN LATERAL (
        SELECT id FROM jobs WHERE id = v.job AND generation = v.generation AND state = 3 FOR UPDATE) x
    LEFT JOIN LATERAL (
        SELECT counted FROM steps WHERE run_id = v.run AND id = v.step AND status = v.was FOR UPDATE) t ON true),
d AS (
    DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT job FROM j))),
l AS (
    DELETE FROM jobs WHERE key = ANY(ARRAY(SELECT late FROM j WHERE late IS NOT NULL AND counted IS NOT NULL))),
s AS (
    UPDATE steps SET seq = e.last_seq + e.nth, status = e.status, memo = e.memo,
        attempts = CASE WHEN e.attempts > 0 THEN e.attempts ELSE steps.attempts END,
        input = coalesce(e.input, steps.input), error = e.error, started_at = coalesce(e.started_at, steps.started_at),
        ended_at = %(now)s, event_id = coalesce(e.event, steps.event_id)
    FROM (SELECT *, row_number() OVER (PARTITION BY run ORDER BY at) AS nth FROM j WHERE counted IS NOT NULL) e
    WHERE steps.run_id = e.run AND steps.id = e.step),
u AS (
    UPDATE runs SET pending = runs.pending - c.counted, open = runs.open - c.ended, last_seq = runs.last_seq + c.ended
    FROM (
        SELECT run, key, count(*) AS ended, count(*) FILTER (WHERE counted) AS counted,
            bool_or(was = 'planned' AND NOT counted) AS raced
        FROM j WHERE counted IS NOT NULL GROUP BY run, key) c
    WHERE runs.id = c.run AND runs.id = ANY(%(runs)s)
    RETURNING runs.id, c.key, runs.last_seq, runs.open, runs.pending = 0 OR c.raced AS discover),
n AS (
    INSERT INTO jobs (kind, key, run_id, run_at, state, generation, again, owner, lease_until)
    SELECT 'call', key, id, %(now)s, 3, 1, false, %(owner)s, %(until)s FROM u WHERE discover
    ON CONFLICT (key) DO UPDATE SET again = true
    RETURNING id, run_id, again)
SELECT j.at, n.id, u.last_seq, u.open FROM j LEFT JOIN u ON u.id = j.run LEFT JOIN n ON n.run_id = j.run AND NOT n.again
ORDER BY j.at
"""


def write_hot(hot: HotPath, ends: Sequence[StepEnd]) -> list[StepEnded]:
    """Write ends, all by one holder, in one statement of PostgreSQL."""
    rows = hot.run(END, values_of(ends))
    discoveries = {
        _run_id(ends[at]): _Discovery(job_id, last_seq, open_)
        for at, job_id, last_seq, open_ in rows
        if job_id is not None
    }
    return _outcomes(ends, {row[0] for row in rows}, discoveries)


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
_HELD = (
    select(
        jobs_table.c.id,
        jobs_table.c.generation,
        runs.c.pending,
        runs.c.open,
        runs.c.last_seq,
        steps.c.status,
        steps.c.counted,
    )
    .join(runs, runs.c.id == jobs_table.c.run_id)
    .outerjoin(steps, (steps.c.run_id == jobs_table.c.run_id) & (steps.c.id == jobs_table.c.step_id))
    .where(jobs_table.c.id.in_(bindparam("ids", expanding=True)), THIS_IS_LEASED, _LIVE)
)
_LOCK_RUNS = (
    select(runs.c.id).where(runs.c.id.in_(bindparam("ids", expanding=True))).order_by(runs.c.id).with_for_update()
)
_LOCK_JOBS = (
    select(jobs_table.c.id)
    .where(jobs_table.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(jobs_table.c.id)
    .with_for_update()
)
_END_JOBS = delete(jobs_table).where(jobs_table.c.id.in_(bindparam("ids", expanding=True)))
_END_LATE = delete(jobs_table).where(jobs_table.c.key.in_(bindparam("keys", expanding=True)))
_END_STEP = (
    update(steps)
    .where(steps.c.run_id == bindparam("of_run"), steps.c.id == bindparam("of_step"))
    .values(
        seq=bindparam("nth"),
        status=bindparam("outcome"),
        attempts=case(
            (bindparam("tries", type_=steps.c.attempts.type) > 0, bindparam("tries")), else_=steps.c.attempts
        ),
        memo=bindparam("result"),
        input=func.coalesce(bindparam("given"), steps.c.input),
        error=bindparam("why"),
        started_at=func.coalesce(bindparam("began", type_=steps.c.started_at.type), steps.c.started_at),
        ended_at=bindparam("now"),
        event_id=func.coalesce(bindparam("found", type_=steps.c.event_id.type), steps.c.event_id),
    )
)
_COUNT = (
    update(runs)
    .where(runs.c.id == bindparam("of_run"))
    .values(pending=bindparam("now_pending"), open=bindparam("now_open"), last_seq=bindparam("last"))
)


def write_all(conn: Connection, ends: Sequence[StepEnd]) -> list[StepEnded]:
    """Write ends, all by one holder, in a transaction; SQLite, with its one writer, needs no locks."""
    if conn.dialect.name != "sqlite":
        conn.execute(_LOCK_RUNS, {"ids": sorted({_run_id(end) for end in ends})})
        conn.execute(_LOCK_JOBS, {"ids": [end.lease.job_id for end in ends]})
    rows = {row.id: row for row in conn.execute(_HELD, {"ids": [end.lease.job_id for end in ends]})}
    accepted = {
        at: rows[end.lease.job_id]
        for at, end in enumerate(ends)
        if end.lease.job_id in rows and rows[end.lease.job_id].generation == end.lease.generation
    }
    if not accepted:
        return [StepEnded(accepted=False) for _ in ends]
    conn.execute(_END_JOBS, {"ids": [row.id for row in accepted.values()]})
    open_ones = {at: row for at, row in accepted.items() if row.status == ends[at].was.value}
    discoveries = dict(_write_open(conn, ends, open_ones)) if open_ones else {}
    return _outcomes(ends, accepted.keys(), discoveries)


@dataclass(slots=True)
class _Counts:
    """What a run's row will tell, and whether a step of a race was among those that ended."""

    pending: int
    open: int
    last_seq: int
    raced: bool = False


def _write_open(conn: Connection, ends: Sequence[StepEnd], rows: Mapping[int, Any]) -> Iterator[tuple[str, _Discovery]]:
    """Write steps and counts; gives the discovery jobs made on the way."""
    found, outcomes = dict[str, _Counts](), []
    for at, row in rows.items():
        end = ends[at]
        run = found.setdefault(_run_id(end), _Counts(row.pending, row.open, row.last_seq))
        run.pending -= row.counted
        run.open -= 1
        run.last_seq += 1
        run.raced |= end.was is StepStatus.PLANNED and not row.counted
        outcomes.append(_outcome(end, run.last_seq))
    conn.execute(_END_STEP, outcomes)
    late = [key for at in rows if (key := _late(ends[at])) is not None]
    if late:
        conn.execute(_END_LATE, {"keys": late})
    conn.execute(
        _COUNT,
        [
            {"of_run": run_id, "now_pending": run.pending, "now_open": run.open, "last": run.last_seq}
            for run_id, run in found.items()
        ],
    )
    by = ends[-1].by
    for run_id, run in found.items():
        key = call_key(run_id)
        if (run.pending == 0 or run.raced) and not jobs.mark_again(conn, key):
            made = jobs.add_leased(conn, CALL, key, run_id, by.owner, by.now, by.until)
            yield run_id, _Discovery(made.job_id, run.last_seq, run.open)


@dataclass(frozen=True, slots=True)
class _Discovery:
    """A discovery job that was made, and what its run's row tells."""

    job_id: int
    last_seq: int
    open: int


def _outcomes(
    ends: Sequence[StepEnd], accepted: Collection[int], discoveries: dict[str, _Discovery]
) -> list[StepEnded]:
    """Each end's outcome; a discovery goes to the last of its run."""
    found = list[StepEnded]()
    for at in reversed(range(len(ends))):
        run_id = _run_id(ends[at])
        made = discoveries.pop(run_id, None) if at in accepted else None
        if made is None:
            found.append(StepEnded(at in accepted))
        else:
            lease = Lease(made.job_id, 1, CALL, call_key(run_id), run_id)
            found.append(StepEnded(True, lease, made.last_seq, made.open))
    return found[::-1]


def _run_id(end: StepEnd) -> str:
    assert end.lease.run_id is not None, "a planned step is one of a run"
    return end.lease.run_id


def _late(end: StepEnd) -> str | None:
    """The key of the job that would end the step for want of an answer."""
    return timeout_key(_run_id(end), end.step.id) if end.was is StepStatus.WAITING else None


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
        "was": end.was.value,
        "late": _late(end),
        "key": call_key(_run_id(end)),
        "status": step.status.value,
        "attempts": step.attempts,
        "memo": step.memo,
        "input": step.input,
        "error": _error(step),
        "started_at": step.started_at,
        "event": ulid_as_uuid(step.event_id) if step.event_id is not None else None,
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
        "found": step.event_id,
        "now": end.by.now,
    }
