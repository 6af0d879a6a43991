"""Self-hosted, broker-agnostic, event-driven durable execution.

Names for user code come from their rooms when they are asked for: `import orchestrator` itself must stay free.  No
`app` or `celery` may appear in this namespace, because `celery -A orchestrator` would take it for the application (it
has to find `orchestrator.celery`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.attach.app import Orchestrator as Orchestrator
    from orchestrator.sdk.context import AsyncContext as AsyncContext
    from orchestrator.sdk.context import Context as Context
    from orchestrator.sdk.errors import NonRetriable as NonRetriable
    from orchestrator.sdk.errors import NotDeterministic as NotDeterministic
    from orchestrator.sdk.errors import RetryAfter as RetryAfter
    from orchestrator.sdk.errors import StepError as StepError
    from orchestrator.sdk.options import Batch as Batch
    from orchestrator.sdk.options import Concurrency as Concurrency
    from orchestrator.sdk.options import Debounce as Debounce
    from orchestrator.sdk.options import RateLimit as RateLimit
    from orchestrator.sdk.options import Retry as Retry
    from orchestrator.sdk.options import Singleton as Singleton
    from orchestrator.sdk.options import Throttle as Throttle
    from orchestrator.sdk.options import Timeouts as Timeouts
    from orchestrator.sdk.triggers import Cancel as Cancel
    from orchestrator.sdk.triggers import Cron as Cron
    from orchestrator.sdk.triggers import Event as Event
    from orchestrator.sdk.triggers import NewEvent as NewEvent
    from orchestrator.sdk.triggers import ReceivedEvent as ReceivedEvent

__version__ = "0.1.0"

_PLACES = {
    "orchestrator.attach.app": ("Orchestrator",),
    "orchestrator.sdk.context": ("AsyncContext", "Context"),
    "orchestrator.sdk.errors": ("NonRetriable", "NotDeterministic", "RetryAfter", "StepError"),
    "orchestrator.sdk.options": (
        "Batch",
        "Concurrency",
        "Debounce",
        "RateLimit",
        "Retry",
        "Singleton",
        "Throttle",
        "Timeouts",
    ),
    "orchestrator.sdk.triggers": ("Cancel", "Cron", "Event", "NewEvent", "ReceivedEvent"),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}

__all__ = ["__version__", *sorted(_PLACE_OF)]


def __getattr__(name: str) -> Any:
    """Import a name for user code from its room."""
    place = _PLACE_OF.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(place), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
