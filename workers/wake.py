"""A step that keeps the event loop of Celery 5.7 awake.

Its hub runs callbacks that were added during a tick only after the next event, which may be ten seconds away: tasks
stand still, and TERM is noticed late.  Waking the hub whenever it has such callbacks, and once a second anyway, cures
both.  Pools without the event loop need nothing.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps


class HubWake(bootsteps.StartStopStep):
    """Wakes the hub."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def start(self, parent: Any) -> None:
        """Begin; done anew for every connection, which does no harm."""
        hub = getattr(parent, "hub", None) or getattr(parent.controller, "hub", None)
        if hub is None:
            return

        def wake() -> None:
            if hub._ready and hub._waker is not None:
                hub._waker.wake()

        hub.on_tick.add(wake)
        hub.call_repeatedly(1.0, lambda: None)
