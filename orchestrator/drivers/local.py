"""The driver for functions of this process: no request, no serialised call; steps are stored as they are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from orchestrator.core.message import StepDone, Threw
from orchestrator.drivers.base import Answer, Call
from orchestrator.protocol.run_errors import error_text
from orchestrator.sdk.errors import Abandoned
from orchestrator.sdk.function import SCHEME, DurableFunction, Registry
from orchestrator.sdk.run import Given
from orchestrator.sdk.run import call as call_function
from orchestrator.sdk.tasks import TaskSender
from orchestrator.sdk.triggers import NewEvent

_PREFIX = f"{SCHEME}://"


class Progress(Protocol):
    """What the engine does for a function while it runs; see `sdk.execution.Host`."""

    @property
    def attempt(self) -> int:
        """The attempt that a step or the function would fail now."""
        ...

    def now(self) -> datetime:
        """The time."""
        ...

    def check(self) -> None:
        """Return if the function may go on."""
        ...

    def done(self, step: StepDone) -> None:
        """Store a step for good."""
        ...

    def send(self, events: list[NewEvent], seed: str) -> list[str]:
        """Send events."""
        ...

    def signal(self, signal: str, data: str) -> bool:
        """Give a signal."""
        ...

    def strayed(self, step_ids: Sequence[str]) -> None:
        """Tell that the function no longer asks for these of its memoised steps."""
        ...


def app_of(url: str) -> str | None:
    """The app whose processes hold what is at this URL; None: it is reached over the network."""
    return url.removeprefix(_PREFIX) if url.startswith(_PREFIX) else None


@dataclass(slots=True)
class LocalDriver:
    """Calls the functions of the apps that this process holds."""

    registries: Mapping[str, Registry] = field(default_factory=dict)

    @property
    def apps(self) -> Sequence[str]:
        """The apps that this process holds."""
        return list(self.registries)

    def holds(self, app: str) -> bool:
        """Whether functions of this app can be called here."""
        registry = self.registries.get(app)
        return registry is not None and not registry.empty

    def tasks(self, app: str) -> TaskSender | None:
        """What sends the Celery tasks that functions of this app ask for, if this process can."""
        registry = self.registries.get(app)
        return registry.tasks if registry is not None else None

    def call(self, app: str, call: Call, progress: Progress) -> Answer | None:
        """Call a function; None: it must not go on, and what it did last is not stored."""
        function: DurableFunction[..., Any] | None = self.registries[app].find(call.function_slug)
        if function is None:
            return Answer(_unknown(app, call))
        given = Given(call.run_id, call.events, call.memo, call.target, call.plan_only, call.inputs)
        try:
            called = call_function(function, given, progress)
        except Abandoned as abandoned:
            if abandoned.__cause__ is not None:
                raise abandoned.__cause__ from None
            return None
        if called.unseen:
            progress.strayed(called.unseen)
        return Answer(called.reply)


def _unknown(app: str, call: Call) -> Threw:
    message = f'this process holds the app "{app}" in a version without the function "{call.function_slug}"'
    return Threw(call.target, call.attempt, error_text("FunctionNotFound", message), retryable=True)
