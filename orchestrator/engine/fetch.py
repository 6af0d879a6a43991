"""Make an HTTP request for an app, as a job of its own: `step.fetch` and `step.ai.infer`.

The app's process need not wait for the answer: it is the step's outcome.  A failure is an attempt of the step.  When a
worker dies between the request and its answer, the request is made once more: at least once, as with any step.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core.message import Asked, StepDone, StepErrored
from orchestrator.drivers.follow import request_following
from orchestrator.drivers.reach import WAY_OUT
from orchestrator.engine.branch import Branch
from orchestrator.engine.call import call
from orchestrator.engine.enter import end
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import settle
from orchestrator.errors import TransportError
from orchestrator.protocol import gateway
from orchestrator.protocol.ops import MAX_STEP_VALUE
from orchestrator.store import runs
from orchestrator.store.jobs import Lease


def fetch(parts: Parts, lease: Lease, _branch: Branch | None = None) -> None:
    """Make the request a leased gateway job stands for, memoise its answer, and go on."""
    with parts.holdings.holding(lease):
        with parts.database.read() as conn:
            loaded = runs.load(conn, lease.run_id) if lease.run_id is not None else None
        if loaded is None or lease.step_id is None or loaded.run.status.final:
            end(parts, lease)
            return
        function = parts.versions.read(loaded).function
        began = parts.clock.now()
        outcome = replace(_outcome(parts, lease.step_id, gateway.read(lease.payload or "")), started_at=began)
        reply = Asked(lease.step_id, lease.attempt, (outcome,))
        applied, _ = settle(parts, lease, loaded, reply, function.max_attempts)
    if applied.lease is not None:
        call(parts, applied.lease)


def _outcome(parts: Parts, step_id: str, asked: gateway.Asked) -> StepDone | StepErrored:
    try:
        body = asked.body.encode()
        timeout = parts.settings.fetch_timeout
        if asked.kind == gateway.AI:  # A provider that redirects a POST is asked in the wrong place.
            url = asked.url
            response = parts.http.request(asked.method, url, headers=asked.headers, body=body, timeout=timeout)
        else:
            response, url = request_following(
                parts.http, asked.method, asked.url, headers=asked.headers, body=body, timeout=timeout
            )
    except TransportError as error:
        way_out = f" {WAY_OUT}" if error.code == "blocked_address" else ""
        return gateway.unanswered(step_id, asked, error.code, error.message + way_out)
    return gateway.answered(step_id, asked, url, response.status, response.headers, response.body, MAX_STEP_VALUE)
