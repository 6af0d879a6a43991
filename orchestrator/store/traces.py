"""What a run's trace is made of, and what its spans have come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, literal_column, or_, select

from orchestrator.core.effect import Status, StepStatus
from orchestrator.core.spans import Traced, TracedAttempt, TracedJob, TracedRun, TracedStep
from orchestrator.expressions.stored import value_of
from orchestrator.store.jobs import LEASED
from orchestrator.store.tables import functions, history, jobs, runs, steps

#: The most steps, and lines of its story, that a trace is made from.
MOST = 10_000
#: More of an input is not read for the little that is told of it.
_MOST_INPUT = 65_536

_RUN = (
    select(
        runs.c.status,
        runs.c.queued_at,
        runs.c.started_at,
        runs.c.ended_at,
        or_(runs.c.output.is_not(None), runs.c.error.is_not(None)).label("result"),
        functions.c.name,
        functions.c.slug,
    )
    .outerjoin(functions, functions.c.id == runs.c.function_id)
    .where(runs.c.id == bindparam("of_run"))
)
_INVOKE = "InvokeFunction"
_TOGETHER = 500
_STARTED = select(runs.c.id, runs.c.correlation_id).where(runs.c.event_id.in_(bindparam("event_ids", expanding=True)))
_ASKING = ("WaitForEvent", "WaitForSignal", "InvokeFunction", "Task")
_NOTHING_CAME = or_(
    and_(steps.c.op.in_(("WaitForEvent", "WaitForSignal")), steps.c.memo == literal_column("'null'")),
    and_(steps.c.op == literal_column("'InvokeFunction'"), steps.c.error.like("%InngestInvokeTimeoutError%")),
)
_STEPS = (
    select(
        steps.c.id,
        steps.c.name,
        steps.c.op,
        steps.c.status,
        steps.c.attempts,
        steps.c.seq,
        steps.c.started_at,
        steps.c.ended_at,
        steps.c.wake_at,
        steps.c.queued_at,
        steps.c.position,
        steps.c.event_id,
        case((and_(steps.c.op.in_(_ASKING), func.length(steps.c.input) <= _MOST_INPUT), steps.c.input)).label("asked"),
        func.coalesce(_NOTHING_CAME, literal_column("false")).label("timed_out"),
    )
    .where(steps.c.run_id == bindparam("of_run"))
    .order_by(steps.c.seq.is_(None), steps.c.seq, steps.c.id)
    .limit(bindparam("most"))
)
_STORY = select(history).where(history.c.run_id == bindparam("of_run")).order_by(history.c.id).limit(bindparam("most"))
_JOBS = (
    select(jobs.c.step_id, jobs.c.state, jobs.c.run_at)
    .where(jobs.c.run_id == bindparam("of_run"), jobs.c.kind.in_(("call", "task", "gateway")))
    .limit(bindparam("most"))
)


def read(conn: Connection, run_id: str, most: int = MOST) -> Traced | None:
    """All that a run's trace is made from, of its steps `most` at most; None: there is no such run."""
    of_run: dict[str, Any] = {"of_run": run_id}
    run = conn.execute(_RUN, of_run).first()
    if run is None:
        return None
    status = Status(run.status)
    found = conn.execute(_STEPS, of_run | {"most": most + 1}).all()
    story = conn.execute(_STORY, of_run | {"most": MOST}).all()
    waiting = [] if status.final else conn.execute(_JOBS, of_run | {"most": most}).all()
    sent = [row.event_id for row in found if row.op == _INVOKE and row.event_id is not None]
    children = invoked(conn, run_id, sent)
    reason, existing = _reason(story)
    return Traced(
        TracedRun(
            run_id, run.name or run.slug or "", status, run.queued_at, run.started_at, run.ended_at, bool(run.result)
        ),
        [_step(row, children) for row in found[:most]],
        [_attempt(row) for row in story if row.kind == "attempt failed"],
        [TracedJob(row.step_id, row.state == LEASED, row.run_at) for row in waiting],
        reason,
        existing,
        truncated=len(found) > most,
    )


@dataclass(frozen=True, slots=True)
class SpanTexts:
    """What a span has come to, as JSON texts; `memo` is what later calls get of a step, `story` of a failed try."""

    output: str | None = None
    error: str | None = None
    memo: str | None = None
    op: str | None = None
    input: str | None = None
    story: str | None = None


def run_texts(conn: Connection, run_id: str) -> SpanTexts | None:
    """The output and the error of a run; None: there is no such run."""
    row = conn.execute(select(runs.c.output, runs.c.error).where(runs.c.id == run_id)).first()
    return SpanTexts(row.output, row.error) if row is not None else None


def step_texts(conn: Connection, run_id: str, step_id: str) -> SpanTexts | None:
    """What a step has come to; None: there is no such step."""
    query = select(steps.c.memo, steps.c.error, steps.c.op, steps.c.input)
    row = conn.execute(query.where(steps.c.run_id == run_id, steps.c.id == step_id)).first()
    return SpanTexts(None, row.error, row.memo, row.op, row.input) if row is not None else None


def attempt_texts(conn: Connection, run_id: str, entry: int) -> SpanTexts | None:
    """What a failed try has come to, by its place in the run's story; None: there is none."""
    query = select(history.c.data).where(history.c.run_id == run_id, history.c.id == entry)
    row = conn.execute(query).first()
    return SpanTexts(story=row.data) if row is not None else None


def _step(row: Any, invoked: Mapping[str, str]) -> TracedStep:
    return TracedStep(
        row.id,
        row.name,
        row.op,
        StepStatus(row.status),
        row.attempts,
        row.seq,
        row.queued_at,
        row.started_at,
        row.ended_at,
        row.wake_at,
        row.position,
        _object(row.asked),
        row.event_id,
        invoked.get(row.id),
        bool(row.timed_out),
    )


def invoked(conn: Connection, run_id: str, event_ids: Sequence[str]) -> dict[str, str]:
    """The runs that a run's steps invoked by these events, by the step."""
    found = dict[str, str]()
    for at in range(0, len(event_ids), _TOGETHER):
        for row in conn.execute(_STARTED, {"event_ids": list(event_ids[at : at + _TOGETHER])}):
            by, _, step_id = (row.correlation_id or "").partition(".")
            if by == run_id:
                found[step_id] = row.id
    return found


def _attempt(row: Any) -> TracedAttempt:
    data = _object(row.data)
    times = (_moment(data.get("started_at")), row.at, _moment(data.get("next_at")))
    return TracedAttempt(row.id, row.step_id, row.attempt or 0, *times)


def _reason(story: Sequence[Any]) -> tuple[str | None, str | None]:
    """Why a run was cancelled or skipped, and the run that is in its way."""
    for row in reversed(story):
        if row.kind in ("cancelled", "skipped"):
            data = _object(row.data)
            existing = data.get("run_id")
            return str(data.get("reason", "")), existing if isinstance(existing, str) else None
    return None, None


def _object(text: str | None) -> Mapping[str, Any]:
    value = value_of(text) if text is not None else None
    return value if isinstance(value, dict) else {}


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
