"""The state of a run for SDKs that were told to fetch it themselves (`use_api`)."""

from __future__ import annotations

import orjson
from flask import Response

from orchestrator.api.access import needs
from orchestrator.api.answers import json_answer
from orchestrator.api.current import current_server
from orchestrator.api.routing import blueprint, check_ulid
from orchestrator.api.schemas import ErrorShape
from orchestrator.core.scope import Scope
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.protocol.request import memo_of_inputs
from orchestrator.store import runs, steps
from orchestrator.store.database import Connection
from orchestrator.store.runs import Loaded

routes = blueprint("state", "What an SDK fetches when a run's state is too large for a request.")


class GoneError(RequestError):
    """The state of the run is gone."""

    status = 410
    code = "gone"


@routes.route("/v0/runs/<ulid:run_id>/batch")
@needs(Scope.READ)
@routes.response(200, {"type": "array", "items": {"type": "object"}}, description="The events the run is called with")
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
@routes.alt_response(410, schema=ErrorShape)
def get_batch(run_id: str) -> Response:
    """Give the events of a run."""
    with current_server().parts.database.read() as conn:
        loaded = _loaded(conn, run_id)
    return json_answer(f"[{','.join(loaded.events)}]".encode())


@routes.route("/v0/runs/<ulid:run_id>/actions")
@needs(Scope.READ)
@routes.response(200, {"type": "object"}, description="The memos by step id, in the order of their storing")
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
@routes.alt_response(410, schema=ErrorShape)
def get_actions(run_id: str) -> Response:
    """Give the memos of a run."""
    with current_server().parts.database.read() as conn:
        loaded = _loaded(conn, run_id)
        memos = {memo.id: memo.memo for memo in steps.memos(conn, loaded.run.id) if memo.memo is not None}
    given = memo_of_inputs({it: text for it, text in loaded.inputs.items() if it not in memos})
    members = b",".join(orjson.dumps(step_id) + b":" + text.encode() for step_id, text in {**memos, **given}.items())
    return json_answer(b"{" + members + b"}")


def _loaded(conn: Connection, run_id: str) -> Loaded:
    loaded = runs.load(conn, check_ulid("run_id", run_id))
    if loaded is not None:
        return loaded
    if runs.get(conn, run_id) is not None:
        raise GoneError(f"the function or the event of the run {run_id} is gone")
    raise NotFoundError(f"there is no run {run_id}")
