"""Answers: JSON in the one envelope of successes and the one shape of errors."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from flask import Response

from orchestrator.api.current import current_server
from orchestrator.api.render import moment

JSON = "application/json"


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


def empty(status: int = 200) -> Response:
    """Answer without a body."""
    answer = Response(status=status)
    del answer.headers["Content-Type"]
    return answer


def refusal(status: int, code: str, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with an error; the number is in the body too, because the TypeScript SDK looks for it there."""
    answer = json_answer(orjson.dumps({"code": code, "error": sentence, "data": None, "status": status}), status)
    answer.headers.update(headers or {})
    return answer
