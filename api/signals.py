"""Signals: a word to the one run that waits for it."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response

from orchestrator.api.access import needs
from orchestrator.api.answers import envelope
from orchestrator.api.current import current_server
from orchestrator.api.routing import blueprint
from orchestrator.api.schemas import ErrorShape, SignalBody, SignalledShape, enveloped
from orchestrator.core.scope import Scope
from orchestrator.engine.signal import signal as send
from orchestrator.errors import RequestError

routes = blueprint("signals", "A word to the one run that waits for it.")


@routes.route("/v1/signals", methods=["POST"])
@needs(Scope.WRITE)
@routes.arguments(SignalBody, location="json", as_kwargs=True)
@routes.response(200, enveloped(SignalledShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(413, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape, description="No run waits for it; a signal is not kept")
def send_signal(signal: str, data: Any = None) -> Response:
    """Resume the run that waits for a signal, with the data."""
    try:
        text = orjson.dumps(data).decode()
    except TypeError as error:
        raise RequestError(f"data cannot be written as JSON: {error}") from error
    return envelope({"run_id": send(current_server().parts, signal, text)})
