"""Answers: JSON in the one envelope of successes and the one shape of errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response, request

from orchestrator.api.current import current_server
from orchestrator.api.render import moment
from orchestrator.store.filters import Page

JSON = "application/json"
#: Where the second generation lives, whose errors have a shape of their own.
_SECOND = "/v2/"


def json_answer(body: bytes, status: int = 200) -> Response:
    """Answer with JSON text."""
    return Response(body, status, mimetype=JSON)


def plain(data: object) -> Response:
    """Answer with the data alone."""
    return json_answer(orjson.dumps(data))


def envelope(data: object) -> Response:
    """Answer with the data and when they were read; they are never cached."""
    metadata = {"fetched_at": moment(current_server().parts.clock.now()), "cached_until": None}
    return plain({"data": data, "metadata": metadata})


def paged(data: object, page: Page[Any]) -> Response:
    """Answer with a page of what was looked for, and where the next one begins."""
    metadata = {"fetched_at": moment(current_server().parts.clock.now()), "cached_until": None}
    about: dict[str, object] = {
        "cursor": page.end_cursor if page.has_next else None,
        "has_more": page.has_next,
        "scanned_until": moment(page.scanned_until),
        "error": page.error,
    }
    return plain({"data": data, "metadata": metadata, "page": about})


def empty(status: int = 200) -> Response:
    """Answer without a body."""
    answer = Response(status=status)
    del answer.headers["Content-Type"]
    return answer


def refusal(status: int, code: str, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with an error in the shape of the family that was asked.

    The number is in the body too, because the TypeScript SDK looks for it there.
    """
    if request.path.startswith(_SECOND):
        told: dict[str, object] = {"errors": [{"code": code, "message": sentence}]}
    else:
        told = {"code": code, "error": sentence, "data": None, "status": status}
    answer = json_answer(orjson.dumps(told), status)
    answer.headers.update(headers or {})
    return answer
