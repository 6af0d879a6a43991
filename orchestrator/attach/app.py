"""`Orchestrator`: an app of durable functions, as user code declares it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from orchestrator.sdk.function import APPS, DurableFunction, Registry
from orchestrator.sdk.options import (
    Batch,
    Concurrency,
    Debounce,
    Options,
    RateLimit,
    Retry,
    Singleton,
    Throttle,
    Timeouts,
)
from orchestrator.sdk.triggers import Cancel, Cron, Event, NewEvent

if TYPE_CHECKING:
    from celery import Celery

P = ParamSpec("P")
R = TypeVar("R")


class Orchestrator:
    """An app of durable functions.

    With `celery`, the workers of that Celery application run the functions beside its tasks; without, the processes do
    that are told of this module (ORCHESTRATOR_APPS, or `orchestrator dev --app`).
    """

    def __init__(self, app: str, *, celery: Celery | None = None) -> None:
        """Raises `ValueError` when the name cannot be one, or is another app's of this process."""
        if app in APPS:
            raise ValueError(f'the app "{app}" is there already in this process; import it instead of making it twice')
        self.registry = Registry(app)
        APPS[app] = self.registry
        self._celery = celery
        if celery is not None:
            from orchestrator.attach.celery import attach
            from orchestrator.attach.tasks import CelerySender

            attach(celery)
            self.registry.tasks = CelerySender(celery)

    def function(
        self,
        on: Event | Cron | Sequence[Event | Cron],
        *,
        id: str | None = None,
        name: str | None = None,
        retries: int | Retry = 4,
        cancel_on: Event | Cancel | Sequence[Event | Cancel] = (),
        on_failure: Callable[..., Any] | None = None,
        concurrency: int | Concurrency | tuple[Concurrency, ...] | None = None,
        throttle: Throttle | None = None,
        rate_limit: RateLimit | None = None,
        debounce: Debounce | None = None,
        batch: Batch | None = None,
        priority: str | None = None,
        singleton: Singleton | None = None,
        timeouts: Timeouts | None = None,
        idempotency: str | None = None,
    ) -> Callable[[Callable[P, R]], DurableFunction[P, R]]:
        """Make a function durable: it is called with a `Context` (or, if `async def`, an `AsyncContext`).

        Its id is `id`, or the name of the Python function with dashes.  Raises `ValueError` for what cannot be.
        """
        options = Options(
            retries=retries,
            concurrency=concurrency,
            throttle=throttle,
            rate_limit=rate_limit,
            debounce=debounce,
            batch=batch,
            priority=priority,
            singleton=singleton,
            timeouts=timeouts,
            idempotency=idempotency,
        )

        def declare(handler: Callable[P, R]) -> DurableFunction[P, R]:
            return self.registry.add(
                handler, on, id=id, name=name, cancel_on=cancel_on, on_failure=on_failure, options=options
            )

        return declare

    def send(self, event: str | NewEvent | Sequence[NewEvent], data: Any = None) -> list[str]:
        """Send events from anywhere; returns their ids once they are stored for good."""
        from orchestrator.attach.sender import send

        return send(self._celery, event, data)
