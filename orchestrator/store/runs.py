"""Runs: one execution of a function each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, literal_column, select, update

from orchestrator.core.effect import Status
from orchestrator.core.failure import fingerprint
from orchestrator.core.run import Run
from orchestrator.store import batches, mysql, reruns, steps
from orchestrator.store.changing import NewOnly
from orchestrator.store.tables import apps, batch_events, events, functions, runs

_LIVE = runs.c.status.in_([literal_column("'queued'"), literal_column("'running'")])
_BY_ID = runs.c.id == bindparam("run_id")


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be written."""

    id: str
    function_id: str
    function_version: int
    event_id: str
    event_name: str
    status: Status
    queued_at: datetime
    started_at: datetime | None = None
    #: The run and the step that invoked it.
    correlation_id: str | None = None
    #: Its events, where there is more than the one.
    batch_id: str | None = None
    #: The gate of its singleton.
    singleton: str | None = None
    ended_at: datetime | None = None
    #: The slots its calls need (see `core.concurrency.Needs`).
    limits: str | None = None
    #: The run that it runs again.
    original_run_id: str | None = None

    def stored(self) -> StoredRun:
        """The run as the store has it once it is written."""
        return StoredRun(
            id=self.id,
            function_id=self.function_id,
            function_version=self.function_version,
            event_id=self.event_id,
            event_name=self.event_name,
            status=self.status,
            pending=0,
            open=0,
            request_version=-1,
            output=None,
            error=None,
            queued_at=self.queued_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            correlation_id=self.correlation_id,
            batch_id=self.batch_id,
            singleton=self.singleton,
            limits=self.limits,
            original_run_id=self.original_run_id,
        )


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as the store has it."""

    id: str
    function_id: str
    function_version: int
    event_id: str
    event_name: str
    status: Status
    pending: int
    open: int
    request_version: int
    output: str | None
    error: str | None
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    correlation_id: str | None = None
    batch_id: str | None = None
    singleton: str | None = None
    #: How often it failed for a dead job and was made to go on.
    requeues: int = 0
    limits: str | None = None
    #: The run that it runs again.
    original_run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A run with what calling it needs: the function's row and the event's wire text."""

    run: StoredRun
    slug: str
    #: The function as it is now, and which version that is.
    config: str
    version: int
    archived: bool
    event: str
    #: What the app runs on, as it said when it was synced.
    sdk_language: str | None = None
    sdk_version: str | None = None
    #: How many calls at once an operator allows, where the app limits nothing.
    imposed: int | None = None
    #: What an operator wants of its starts (see `store.overrides`).
    overrides: str | None = None
    #: A time-out of its function may end it, for which a job stands.
    timed: bool = False
    #: The wire texts of all its events, where there is more than the one.
    batch: tuple[str, ...] = ()
    #: Whether its function starts no runs at present.
    paused: bool = False
    #: What steps get in place of their own input (JSON arrays), for a run that was run again so.
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def events(self) -> tuple[str, ...]:
        """The wire texts of its events; the first is the one it is known by."""
        return self.batch or (self.event,)


_INSERT = NewOnly(runs)


def _loaded_with(config: ColumnElement[str]) -> Select[Any]:
    return (
        select(
            runs,
            functions.c.slug,
            config,
            functions.c.version,
            functions.c.archived_at,
            functions.c.paused_at,
            functions.c.imposed,
            functions.c.overrides,
            events.c.payload,
            apps.c.sdk_language,
            apps.c.sdk_version,
        )
        .join(functions, functions.c.id == runs.c.function_id)
        .join(apps, apps.c.id == functions.c.app_id)
        .join(events, events.c.id == runs.c.event_id)
    )


_LOAD = _loaded_with(functions.c.config).where(_BY_ID)
_THESE = (runs.c.id.in_(bindparam("ids", expanding=True)), _LIVE)
_LOCK_LIVE = select(runs.c.id).where(*_THESE).order_by(runs.c.id).with_for_update()
# Who ends runs does not call their functions.
_LOAD_LIVE = _loaded_with(literal_column("''").label("config")).where(*_THESE).order_by(runs.c.id)
_CANCEL = (
    update(runs)
    .where(*_THESE)
    .values(status=literal_column("'cancelled'"), ended_at=bindparam("at"), pending=0, open=0)
)
_READ = select(runs).where(_BY_ID)
_SOME = select(runs).where(runs.c.id.in_(bindparam("ids", expanding=True))).order_by(runs.c.id)
_ACTIVE = select(runs.c.id).where(runs.c.singleton == bindparam("gate"), _LIVE).order_by(runs.c.id.desc()).limit(1)
_LOCK = select(runs.c.status, runs.c.pending, runs.c.open, runs.c.last_seq).where(_BY_ID).with_for_update()
_START = (
    update(runs)
    .where(_BY_ID, runs.c.status == literal_column("'queued'"))
    .values(status=Status.RUNNING.value, started_at=bindparam("at"))
)
_COUNT = (
    update(runs)
    .where(_BY_ID)
    .values(pending=bindparam("now_pending"), open=bindparam("now_open"), last_seq=bindparam("last"))
)
_VERSION = update(runs).where(_BY_ID).values(request_version=bindparam("version"))
# Comes after the job was locked, so it must not wait for the run.
_UNLOCKED = select(runs.c.id).where(_BY_ID).with_for_update(skip_locked=True)
_VERSION_UNLOCKED = _VERSION.where(runs.c.id == _UNLOCKED.scalar_subquery())
_FINISH = (
    update(runs)
    .where(_BY_ID, _LIVE)
    .values(
        status=bindparam("final"),
        output=bindparam("result"),
        error=bindparam("why"),
        failure=bindparam("alike"),
        ended_at=bindparam("at"),
        pending=0,
        open=0,
    )
)


def add(conn: Connection, new: Sequence[NewRun]) -> None:
    """Write new runs; a function's second run for the same event is left out, unless it is a rerun."""
    _INSERT.run(conn, [_row(run) for run in new])


def load(conn: Connection, run_id: str) -> Loaded | None:
    """The run with what calling it needs; None: there is no such run."""
    row = conn.execute(_LOAD, {"run_id": run_id}).first()
    return _loaded(conn, row) if row is not None else None


def lock_live(conn: Connection, run_ids: Sequence[str]) -> list[Loaded]:
    """Those of the runs that are not over, locked in the order of their ids, without their functions' configuration."""
    if not run_ids or not conn.execute(_LOCK_LIVE, {"ids": list(run_ids)}).all():
        return []
    return [_loaded(conn, row) for row in conn.execute(_LOAD_LIVE, {"ids": list(run_ids)}).all()]


def cancel_all(conn: Connection, run_ids: Sequence[str], at: datetime) -> None:
    """End runs that the caller has locked."""
    conn.execute(_CANCEL, {"ids": list(run_ids), "at": at})


def _loaded(conn: Connection, row: Row[Any]) -> Loaded:
    archived = row.archived_at is not None
    batch = batches.payloads(conn, row.batch_id) if row.batch_id is not None else ()
    inputs = reruns.inputs(conn, row.id) if row.original_run_id is not None else {}
    sdk = (row.sdk_language, row.sdk_version)
    return Loaded(
        _stored(row),
        row.slug,
        row.config,
        row.version,
        archived,
        row.payload,
        *sdk,
        row.imposed,
        row.overrides,
        batch=batch,
        paused=row.paused_at is not None,
        inputs=inputs,
    )


def get(conn: Connection, run_id: str) -> StoredRun | None:
    """One run."""
    row = conn.execute(_READ, {"run_id": run_id}).first()
    return _stored(row) if row else None


def some(conn: Connection, run_ids: Sequence[str]) -> list[StoredRun]:
    """Those of the runs that there are, the oldest first."""
    return [_stored(row) for row in conn.execute(_SOME, {"ids": list(run_ids)})]


def of_event(conn: Connection, event_id: str) -> list[StoredRun]:
    """The runs an event started, or had a part in starting, oldest first."""
    return of_events(conn, [event_id])


def of_events(conn: Connection, event_ids: Sequence[str]) -> list[StoredRun]:
    """The runs these events started, or had a part in starting."""
    in_batches = select(batch_events.c.batch_id).where(batch_events.c.event_id.in_(list(event_ids)))
    alone = select(runs).where(runs.c.event_id.in_(list(event_ids)))
    found = [*conn.execute(alone), *conn.execute(select(runs).where(runs.c.batch_id.in_(in_batches)))]
    return sorted({row.id: _stored(row) for row in found}.values(), key=lambda run: run.id)


def active(conn: Connection, singleton: str) -> str | None:
    """The live run that went through this gate, the newest if there are several.  The caller holds the gate's lock."""
    row = conn.execute(_ACTIVE, {"gate": singleton}).first()
    return row.id if row is not None else None


def lock(conn: Connection, run_id: str, step_ids: Sequence[str]) -> Run | None:
    """The run for deciding, with the state of the steps named, locked for the rest of the transaction.

    While nothing is open steps are memoised without a word to the run's row, so there the last one is looked up.
    """
    row = conn.execute(_LOCK, {"run_id": run_id}).first()
    if row is None:
        return None
    last = row.last_seq if row.open else steps.last_seq(conn, run_id)
    known = steps.states(conn, run_id, step_ids)
    return Run(run_id, Status(row.status), row.pending, row.open, last + row.open, last, known)


def lock_row(conn: Connection, run_id: str) -> None:
    """Lock a run, for who is about to lock a job of it and may then change the run."""
    conn.execute(_LOCK, {"run_id": run_id})


def start(conn: Connection, run_id: str, at: datetime) -> bool:
    """Note that the first call begins; False: it had begun before, or the run is over."""
    return conn.execute(_START, {"run_id": run_id, "at": at}).rowcount == 1


def set_counts(conn: Connection, run: Run) -> None:
    """Write the counts of open, pending and memoised steps."""
    values = {"now_pending": run.pending, "now_open": run.open, "last": run.last_seq}
    conn.execute(_COUNT, {"run_id": run.id} | values)


def set_request_version(conn: Connection, run_id: str, version: int) -> None:
    """Remember the request version the app answered with, unless somebody else is writing the run just now."""
    values = {"run_id": run_id, "version": version}
    if conn.dialect.name in mysql.NAMES and conn.execute(_UNLOCKED, values).first() is None:
        return
    conn.execute(_VERSION_UNLOCKED if conn.dialect.name == "postgresql" else _VERSION, values)


def finish(conn: Connection, run_id: str, status: Status, output: str | None, error: str | None, at: datetime) -> bool:
    """End a live run; False: it was over before."""
    alike = fingerprint(error) if status is Status.FAILED else None
    values = {"run_id": run_id, "final": status.value, "result": output, "why": error, "alike": alike, "at": at}
    return conn.execute(_FINISH, values).rowcount == 1


def reopen(conn: Connection, run_id: str) -> bool:
    """Make a failed run a running one again; False: it has not failed."""
    statement = (
        update(runs)
        .where(runs.c.id == run_id, runs.c.status == literal_column("'failed'"))
        .values(
            status=Status.RUNNING.value,
            output=None,
            error=None,
            failure=None,
            ended_at=None,
            pending=0,
            open=0,
            requeues=runs.c.requeues + 1,
        )
    )
    return conn.execute(statement).rowcount == 1


def _row(run: NewRun) -> dict[str, object]:
    return {
        "id": run.id,
        "function_id": run.function_id,
        "function_version": run.function_version,
        "event_id": run.event_id,
        "event_name": run.event_name,
        "status": run.status.value,
        "queued_at": run.queued_at,
        "started_at": run.started_at,
        "correlation_id": run.correlation_id,
        "batch_id": run.batch_id,
        "singleton": run.singleton,
        "ended_at": run.ended_at,
        "limits": run.limits,
        "original_run_id": run.original_run_id,
        "by_event": True if run.original_run_id is None else None,
    }


def _stored(row: Row[Any]) -> StoredRun:
    return StoredRun(
        row.id,
        row.function_id,
        row.function_version,
        row.event_id,
        row.event_name,
        Status(row.status),
        row.pending,
        row.open,
        row.request_version,
        row.output,
        row.error,
        row.queued_at,
        row.started_at,
        row.ended_at,
        row.correlation_id,
        row.batch_id,
        row.singleton,
        row.requeues,
        row.limits,
        row.original_run_id,
    )
