"""What happened lately: counts of runs over time, and failures that are alike."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask import Response

from orchestrator.api.access import needs
from orchestrator.api.answers import envelope
from orchestrator.api.current import current_server
from orchestrator.api.render import moment
from orchestrator.api.routing import blueprint
from orchestrator.api.schemas import ErrorShape, enveloped
from orchestrator.api.stats_schemas import FailuresQuery, FailuresShape, StatsQuery, StatsShape
from orchestrator.core.scope import Scope
from orchestrator.engine.failures import Alike, what_fails
from orchestrator.engine.overview import LOOKS, Length, OfFunction, Part, overview

routes = blueprint("stats", "What happened lately: counts over time, failures that are alike.")

#: Digits behind the point of seconds and shares: more of them would say nothing.
_DIGITS = 6


@routes.route("/v1/stats")
@needs(Scope.READ)
@routes.arguments(StatsQuery, location="query", as_kwargs=True)
@routes.response(200, enveloped(StatsShape))
@routes.alt_response(400, schema=ErrorShape)
def get_stats(span: str) -> Response:
    """Tell how many runs there were when, how they ended, and how long they took."""
    parts = current_server().parts
    with parts.database.read() as conn:
        seen = overview(conn, span, parts.clock.now())
    return envelope(
        {
            "since": moment(seen.since),
            "until": moment(seen.until),
            "step_seconds": round(seen.step.total_seconds()),
            "counted_until": moment(seen.counted_until),
            "per_minute": round(seen.per_minute, _DIGITS),
            "total": _part_shape(seen.whole),
            "parts": [_part_shape(part) for part in seen.parts],
            "functions": [_function_shape(it) for it in seen.by_function],
        }
    )


@routes.route("/v1/failures")
@needs(Scope.READ)
@routes.arguments(FailuresQuery, location="query", as_kwargs=True)
@routes.response(200, enveloped(FailuresShape))
@routes.alt_response(400, schema=ErrorShape)
def list_failures(span: str, limit: int, since: datetime | None = None) -> Response:
    """List what failed, failures that are alike together, the most frequent first, with an example of each."""
    parts = current_server().parts
    now = parts.clock.now()
    begin = since or now - LOOKS[span][0]
    with parts.database.read() as conn:
        found = what_fails(conn, begin, now, limit)
    return envelope(
        {
            "since": moment(begin),
            "until": moment(now),
            "runs": found.total,
            "groups": found.number,
            "exact": found.exact,
            "failures": [_failure_shape(it) for it in found.groups],
        }
    )


def _part_shape(part: Part) -> dict[str, Any]:
    rate = part.failure_rate
    return {
        "at": moment(part.at),
        "queued": part.queued,
        "started": part.started,
        "ended": {status.value: number for status, number in part.ended.items()},
        "failure_rate": None if rate is None else round(rate, _DIGITS),
        "queue_seconds": _length_shape(part.waited),
        "run_seconds": _length_shape(part.took),
    }


def _length_shape(length: Length) -> dict[str, float | None]:
    return {"median": _seconds(length.median), "p95": _seconds(length.p95)}


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def _function_shape(it: OfFunction) -> dict[str, Any]:
    slug = it.function.slug if it.function is not None else None
    return {"id": it.function_id, "slug": slug, "queued": it.queued, "ended": it.ended, "failed": it.failed}


def _failure_shape(it: Alike) -> dict[str, Any]:
    return {
        "failure": it.group.failure,
        "function_id": it.group.function_id,
        "function": it.function.slug if it.function is not None else None,
        "message": it.shape,
        "runs": it.group.number,
        "first_at": moment(it.group.first_at),
        "last_at": moment(it.group.last_at),
        "example_run_id": it.group.run_id,
        "example": {"name": it.example.name, "message": it.example.message, "stack": it.example.stack},
    }
