"""Errors become answers: one shape for all, a sentence for what the sender can mend, silence about our own bugs.

A database that is away is nobody's fault: whoever asked is told to ask again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from orchestrator import log
from orchestrator.api import outage
from orchestrator.api.answers import refusal
from orchestrator.errors import RequestError, TransportError

_log = log.get(__name__)

_CODES = {400: RequestError.code, 413: "too_large", 422: RequestError.code}
_BUG = "The server failed to answer; its log tells why"


def register_errors(app: Flask) -> None:
    """Let every exception that leaves a view, and every path that has none, end as an answer."""
    app.register_error_handler(RequestError, _refused)
    app.register_error_handler(TransportError, _unreachable)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, _failed)


def _refused(error: RequestError) -> Response:
    return refusal(
        error.status, error.code, error.message, {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    )


def _unreachable(error: TransportError) -> Response:
    return refusal(502, error.code, error.message)


def http_error(error: HTTPException) -> Response:
    """Answer with what Flask itself refuses."""
    status = error.code or 500
    # Allow above all: flask-smorest's own handler loses it.
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    code = _CODES.get(status) or error.name.lower().replace(" ", "_")
    return refusal(status, code, _sentence(error, status), headers)


def _failed(error: Exception) -> Response:
    if outage.told_outage(error, request.method, request.path):
        return refusal(outage.STATUS, outage.CODE, outage.SENTENCE, dict([outage.RETRY_AFTER]))
    _log.error("request failed", method=request.method, path=request.path[:200], exc_info=error)
    return refusal(500, "internal", _BUG)


def _sentence(error: HTTPException, status: int) -> str:
    found = getattr(error, "data", None)
    if isinstance(found, Mapping) and isinstance(found.get("messages"), Mapping):
        return "; ".join(_faults(found["messages"]))
    if status == 404:
        return f"There is no {request.path[:200]} here"
    if status == 413:
        return f"the request is larger than the limit of {request.max_content_length} bytes"
    if status == 405:
        return f"{request.method} is not a method of {request.path[:200]}"
    return error.description or error.name


def _faults(messages: Mapping[str, object]) -> Iterator[str]:
    """The sentences in what marshmallow found, by place and then field; the place says nothing to the sender."""
    for name, fault in messages.items():
        if isinstance(fault, Mapping):
            yield from _faults({name if field == "_schema" else field: it for field, it in fault.items()})
        else:
            yield f"{name} {' and '.join(map(str, fault)) if isinstance(fault, list) else fault}"
