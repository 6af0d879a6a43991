"""Steps that Celery tasks do, where the test is the broker and the team's workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import celery
import pytest

from orchestrator.engine import task as steps
from orchestrator.engine.task import Taken
from orchestrator.sdk.context import Context
from orchestrator.sdk.function import Registry
from orchestrator.sdk.options import Options
from orchestrator.sdk.tasks import TaskCall, Ticket
from orchestrator.sdk.triggers import Event
from orchestrator.store.database import Database
from tests.sdk.local_world import LocalWorld

MINUTE = timedelta(minutes=1)
Make = Callable[..., "TaskWorld"]
shop = celery.Celery("shop", set_as_current=False)


@shop.task(name="shop.resize")
def resize(url: str, quality: float = 1.0) -> str:
    return f"{url} at {quality}"


@dataclass
class Sent:
    """A sender that keeps what it is given."""

    messages: list[tuple[TaskCall, Ticket]] = field(default_factory=list)
    error: Exception | None = None

    def send(self, call: TaskCall, ticket: Ticket) -> None:
        if self.error is not None:
            raise self.error
        self.messages.append((call, ticket))


class TaskWorld(LocalWorld):
    """The test is the broker and the team's workers."""

    def __init__(self, database: Database, registry: Registry) -> None:
        super().__init__(database, registry)
        self.sent = Sent()
        registry.tasks = self.sent

    def claim(self, at: int = -1) -> Taken | None:
        """Take up a message as a worker does."""
        return steps.claim(self.parts, self.sent.messages[at][1])

    def claimed(self, at: int = -1) -> Taken:
        taken = self.claim(at)
        assert taken is not None
        return taken

    def finish(self, taken: Taken, value: object) -> None:
        steps.finish(self.parts, taken, value)
        self.settle()

    def fail(self, taken: Taken, error: Exception) -> None:
        steps.fail(self.parts, taken, error)
        self.settle()


@pytest.fixture
def make(database: Database) -> Make:
    """Give a world that holds this handler, started by an event of its own name."""

    def made(handler: Callable[..., Any], **options: Any) -> TaskWorld:
        registry = Registry("shop")
        registry.add(handler, Event(handler.__name__), options=Options(**options))
        return TaskWorld(database, registry)

    return made


def fn(ctx: Context) -> Any:
    return ctx.step.task("resize", resize.s("a.png", quality=0.9).set(queue="images"))
