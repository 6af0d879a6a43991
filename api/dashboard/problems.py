"""Errors become pages: a sentence for what the visitor can mend, silence about our own bugs."""

from __future__ import annotations

from flask import Response, request
from werkzeug.exceptions import HTTPException

from orchestrator import log
from orchestrator.api import outage
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.templating import page
from orchestrator.errors import RequestError, TransportError

_log = log.get(__name__)

_TITLES = {
    400: "That did not work",
    401: "Please sign in",
    403: "You may not do this",
    404: "There is nothing here",
    405: "There is nothing here",
    409: "That does not fit any more",
    413: "That is too large",
    429: "Too many attempts",
    502: "The app could not be reached",
    503: "The database is away",
}
_BUG = "The server failed to answer; its log tells why."


def problem(status: int, sentence: str) -> Response:
    """Answer with a page that says what went wrong; where a script asked, with the sentence alone."""
    title = _TITLES.get(status, "Something went wrong")
    template = "problem_part.html" if request.headers.get("HX-Request") else "problem.html"
    return page(template, status, title=title, sentence=sentence)


def wants_page() -> bool:
    """Whether a browser asks, by its address bar or a link."""
    return request.method == "GET" and "text/html" in request.headers.get("Accept", "")


def missing() -> Response:
    """Answer to a browser that went where nothing is."""
    return problem(404, f"There is no {request.path[:200]} here.")


@routes.blueprint.errorhandler(RequestError)
def _refused(error: RequestError) -> Response:
    return problem(error.status, _sentence(error.message))


@routes.blueprint.errorhandler(TransportError)
def _unreachable(error: TransportError) -> Response:
    return problem(502, _sentence(error.message))


@routes.blueprint.errorhandler(HTTPException)
def _http(error: HTTPException) -> Response:
    return problem(error.code or 500, error.description or error.name)


@routes.blueprint.errorhandler(Exception)
def _failed(error: Exception) -> Response:
    if outage.told_outage(error, request.method, request.path):
        answer = problem(outage.STATUS, _sentence(outage.SENTENCE))
        answer.headers.extend([outage.RETRY_AFTER])
        return answer
    _log.error("request failed", method=request.method, path=request.path[:200], exc_info=error)
    return problem(500, _BUG)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
