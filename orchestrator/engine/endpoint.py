"""Durable endpoints: runs that an SDK has begun and reports on, until it leaves them to the server.

While the SDK answers the request that it got, it holds the run's call job: each report prolongs that lease, as a
heartbeat does.  A report that asks for more than remembering steps ends it, as an answer to a call would; so does
silence, for the process that answered may be gone: then the job comes back, and the run goes on by repeating the
request.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.core.effect import Status, StepStatus
from orchestrator.core.event import Event
from orchestrator.core.message import Asked, Checkpointed, DeferDropped, DiscoveryAsked, Returned, StepDone, Threw
from orchestrator.drivers.reach import blocked
from orchestrator.engine.call import hand_on
from orchestrator.engine.checkpoint import memoise, stale
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import settle
from orchestrator.errors import ConflictError, NotFoundError, RequestError
from orchestrator.ids import named_uuid, new_ulid
from orchestrator.protocol.endpoint import HTTP_REQUEST, NewRun, Report, app_url, is_endpoint
from orchestrator.protocol.function_config import read_function
from orchestrator.store import endpoints, events, functions, jobs, runs, steps
from orchestrator.store.database import Connection, IntegrityError
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.functions import Declared, StoredFunction
from orchestrator.store.jobs import Lease
from orchestrator.store.runs import Loaded


@dataclass(frozen=True, slots=True)
class Begun:
    """Where a run that an SDK began belongs."""

    app_id: str
    function_id: str
    run_id: str


def begin(parts: Parts, new: NewRun) -> Begun:
    """Write a run that an SDK has begun, with what it has done so far; the same once more changes nothing.

    Raises `ConflictError` when there is another run of this id, or the SDK holds it no more.
    """
    reason = blocked([new.original.url], parts.settings.addresses)
    if reason is not None:
        raise RequestError(f"event.data.domain: {reason}")
    try:
        function = _write(parts, new)
    except IntegrityError:  # two requests to a new endpoint: now what the first wrote is there to be found
        function = _write(parts, new)
    report(parts, new.run_id, new.report)
    return Begun(function.app_id, function.id, new.run_id)


def report(parts: Parts, run_id: str, told: Report) -> None:
    """Apply what the SDK did for a run that it holds; steps are memoised once however often they are reported.

    Raises `NotFoundError` when there is no such run, and `ConflictError` when the SDK holds it no more and has news.
    """
    if isinstance(told, Checkpointed):
        until = parts.clock.now() + parts.settings.endpoint_silence
        memoise(parts, run_id, told.ops, lambda conn: endpoints.held(conn, run_id), until)
        return
    loaded, lease = _load(parts, run_id, told)
    if lease is None:
        return
    attempts = parts.versions.read(loaded).function.max_attempts
    applied, _ = settle(parts, lease, loaded, replace(told, attempt=lease.attempt), attempts)
    if not applied.accepted:
        raise stale(run_id)
    if applied.lease is not None:
        hand_on(parts, applied.lease)


def _load(parts: Parts, run_id: str, told: Asked | Returned | Threw) -> tuple[Loaded, Lease | None]:
    """The run, and the lease under which the SDK holds it; None: all that it tells was taken before."""
    with parts.database.read() as conn:
        loaded, lease = runs.load(conn, run_id), endpoints.held(conn, run_id)
        if loaded is None:
            raise NotFoundError(f"there is no run {run_id}")
        if lease is None and not _taken(conn, run_id, told):
            raise stale(run_id)
    return loaded, lease


def _taken(conn: Connection, run_id: str, told: Asked | Returned | Threw) -> bool:
    """Whether a report tells of nothing new: SDKs send again what ended their hold where the answer was lost."""
    if isinstance(told, Returned):
        ended = endpoints.ended(conn, [run_id])[run_id]
        return ended is not None and ended.status is Status.COMPLETED and ended.output == told.output
    if isinstance(told, Threw):
        return False
    ops = [op for op in told.ops if not isinstance(op, DiscoveryAsked | DeferDropped)]
    known = steps.states(conn, run_id, [op.id for op in ops])
    return all(
        op.id in known and (not isinstance(op, StepDone) or known[op.id].status is StepStatus.COMPLETED) for op in ops
    )


@undisturbed
def _write(parts: Parts, new: NewRun) -> StoredFunction:
    now = parts.clock.now()
    with parts.database.write() as conn:
        function = _function(conn, new, now)
        known = runs.get(conn, new.run_id)
        if known is None:
            _add(conn, new, function, now)
            until = now + parts.settings.endpoint_silence
            jobs.add_leased(conn, jobs.CALL, jobs.call_key(new.run_id), new.run_id, endpoints.OWNER, now, until)
        elif known.function_id != function.id:
            raise ConflictError(f"the run {new.run_id} is another function's")
    return function


def _add(conn: Connection, new: NewRun, function: StoredFunction, now: datetime) -> None:
    event = Event(new_ulid(), HTTP_REQUEST, new.data, round(now.timestamp() * 1000), now)
    events.add(conn, [event], now, match=False)
    run = runs.NewRun(
        id=new.run_id,
        function_id=function.id,
        function_version=function.version,
        event_id=event.id,
        event_name=event.name,
        status=Status.RUNNING,
        queued_at=now,
        started_at=now,
    )
    runs.add(conn, [run])
    if new.request_version is not None:
        runs.set_request_version(conn, new.run_id, new.request_version)


def _function(conn: Connection, new: NewRun, now: datetime) -> StoredFunction:
    """The endpoint's function, written anew where it is new or another than before."""
    config, url = new.config(), app_url(new.app)
    known = functions.function(conn, new.slug)
    if known is None or known.config != config or known.archived_at is not None:
        _save_app(conn, new, url, now)
        declared = read_function(json.loads(config), "the endpoint", ours=True)
        checksum = hashlib.sha256(config.encode()).hexdigest()
        functions.save_function(conn, _app_id(new), Declared(declared, config, checksum), now)
        known = functions.function(conn, new.slug)
    assert known is not None
    if known.app_id != _app_id(new):
        raise ConflictError(f'function "{new.slug}": this id belongs to another app already')
    return known


def _save_app(conn: Connection, new: NewRun, url: str, now: datetime) -> None:
    app = functions.app_by_name(conn, new.app)
    if app is not None and not is_endpoint(app.url):
        raise ConflictError(f'"{new.app}" is the name of an app that registers its functions; endpoints cannot join it')
    values = {"name": new.app, "url": url, "method": "api", "archived_at": None, "synced_at": now}
    functions.save_app(conn, _app_id(new), values, now)


def _app_id(new: NewRun) -> str:
    return named_uuid("app", new.app)
