"""What a function is given."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.sdk.async_step import AsyncStep
from orchestrator.sdk.execution import Execution
from orchestrator.sdk.step import Group, Step
from orchestrator.sdk.triggers import ReceivedEvent


@dataclass(frozen=True, slots=True)
class _Given:
    """What plain and async functions are both given."""

    _execution: Execution
    run_id: str
    function_id: str
    #: What started the run; with batching there may be more than the first.
    events: Sequence[ReceivedEvent]

    @property
    def event(self) -> ReceivedEvent:
        """The (first) event that started the run."""
        return self.events[0]

    @property
    def attempt(self) -> int:
        """How often the step or function that runs now was tried before."""
        return self._execution.host.attempt

    @property
    def replaying(self) -> bool:
        """Whether the function is still going over what it did before."""
        return self._execution.replaying

    @property
    def logger(self) -> RunLogger:
        """A logger that says each thing once, not at every call, and adds the ids."""
        return RunLogger(self)


@dataclass(frozen=True, slots=True)
class Context(_Given):
    """For `def` functions."""

    step: Step
    group: Group


@dataclass(frozen=True, slots=True)
class AsyncContext(_Given):
    """For `async def` functions."""

    step: AsyncStep


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Silent while a function goes over what it did before."""

    def __init__(self, given: _Given) -> None:
        super().__init__(logging.getLogger("orchestrator.run"), {})
        self._given = given

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the standard library's name
        """Whether a record of this level would be written now."""
        return not self._given.replaying and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the ids to a record."""
        extra = dict(kwargs.get("extra") or {}) | {"run_id": self._given.run_id, "function": self._given.function_id}
        kwargs["extra"] = extra
        return msg, kwargs
