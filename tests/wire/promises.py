"""What functions ask for between an event and its run, from the words of the official Python SDK into those of ours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import inngest

from orchestrator.sdk.options import Batch, Concurrency, Debounce, RateLimit, Singleton, Throttle


def promises(options: dict[str, Any]) -> dict[str, Any]:
    """The SDK's options as ours; those that are not there are left out."""
    return dict(_MADE[name](value) for name, value in options.items() if value is not None)


def span(value: int | timedelta | None) -> timedelta | None:
    """A time, which the SDK also takes in milliseconds."""
    return timedelta(milliseconds=value) if isinstance(value, int) else value


def _some(value: int | timedelta | None) -> timedelta:
    found = span(value)
    assert found is not None
    return found


def _concurrency(limits: list[inngest.Concurrency]) -> tuple[Concurrency, ...]:
    return tuple(Concurrency(it.limit, it.key, it.scope or "fn") for it in limits)


def _batch(it: inngest.Batch) -> Batch:
    return Batch(it.max_size, _some(it.timeout), it.key, it.if_exp)


_MADE: dict[str, Callable[[Any], tuple[str, Any]]] = {
    "concurrency": lambda it: ("concurrency", _concurrency(it)),
    "throttle": lambda it: ("throttle", Throttle(it.limit, _some(it.period), it.burst or 0, it.key)),
    "rate_limit": lambda it: ("rate_limit", RateLimit(it.limit, _some(it.period), it.key)),
    "debounce": lambda it: ("debounce", Debounce(_some(it.period), it.key, span(it.timeout))),
    "batch_events": lambda it: ("batch", _batch(it)),
    "priority": lambda it: ("priority", it.run),
    "singleton": lambda it: ("singleton", Singleton(it.mode, it.key)),
    "idempotency": lambda it: ("idempotency", it),
}
