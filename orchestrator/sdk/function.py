"""Functions as their authors declare them, and apps as collections of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar

from orchestrator.core.event import FUNCTION_FAILED
from orchestrator.sdk.options import Options
from orchestrator.sdk.tasks import TaskSender
from orchestrator.sdk.triggers import Cancel, Cron, Event

P = ParamSpec("P")
R = TypeVar("R")

#: How functions of this process are addressed: `local://app`.
SCHEME = "local"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class DurableFunction(Generic[P, R]):
    """A declared function.  Calling it calls the plain handler, which is what a unit test wants."""

    app: str
    id: str
    name: str
    handler: Callable[P, R]
    triggers: tuple[Event | Cron, ...]
    options: Options = field(default_factory=Options)
    cancels: tuple[Cancel, ...] = ()

    @property
    def slug(self) -> str:
        """Its name on the server: `app-function`."""
        return f"{self.app}-{self.id}"

    @property
    def is_async(self) -> bool:
        """Whether the handler is `async def`."""
        return inspect.iscoroutinefunction(self.handler)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the handler, as the plain function that it is."""
        return self.handler(*args, **kwargs)

    def event_class(self, event_name: str) -> type[Any] | None:
        """The class that the data of an event of this name is turned into, if a trigger names one."""
        for trigger in self.triggers:
            if isinstance(trigger, Event) and trigger.data is not None and _covers(trigger.name, event_name):
                return trigger.data
        return None

    def config(self) -> dict[str, Any]:
        """The function as an app declares it."""
        url = f"{SCHEME}://{self.app}"
        step = {"id": "step", "name": "step", "runtime": {"type": SCHEME, "url": url}}
        retries = {"retries": {"attempts": self.options.max_attempts - 1}}
        cancels = {"cancel": [cancel.config() for cancel in self.cancels]} if self.cancels else {}
        return {
            "id": self.slug,
            "name": self.name,
            "triggers": [trigger.trigger() for trigger in self.triggers],
            "steps": {"step": step | retries},
            **cancels,
            **self.options.config(),
        }


#: The apps of this process, by name.
APPS = dict[str, "Registry"]()


class Registry:
    """The functions of one app in this process."""

    def __init__(self, app: str) -> None:
        """Raises `ValueError` for a name that cannot be one."""
        _check_name("the app's name", app)
        self.app = app
        #: What sends its tasks, where it is attached to a Celery application.
        self.tasks: TaskSender | None = None
        self._functions = dict[str, DurableFunction[..., Any]]()

    @property
    def url(self) -> str:
        """Where its functions are reached: in the processes that hold the app."""
        return f"{SCHEME}://{self.app}"

    def __iter__(self) -> Iterator[DurableFunction[..., Any]]:
        return iter(self._functions.values())

    @property
    def empty(self) -> bool:
        """Whether it has no functions: the modules that declare them were not imported here."""
        return not self._functions

    def find(self, slug: str) -> DurableFunction[..., Any] | None:
        """The function of this slug."""
        return self._functions.get(slug)

    def add(
        self,
        handler: Callable[P, R],
        on: Event | Cron | Sequence[Event | Cron],
        *,
        id: str | None = None,
        name: str | None = None,
        cancel_on: Event | Cancel | Sequence[Event | Cancel] = (),
        on_failure: Callable[..., Any] | None = None,
        options: Options,
    ) -> DurableFunction[P, R]:
        """Declare a function, and another for its failures where `on_failure` is given.

        Raises `ValueError` for a declaration that cannot be one, in a sentence that names the function.
        """
        function_id = id or handler.__name__.replace("_", "-").strip("-")
        _check_name("the function's id", function_id)
        triggers = (on,) if isinstance(on, Event | Cron) else tuple(on)
        cancels = (cancel_on,) if isinstance(cancel_on, Event | Cancel) else tuple(cancel_on)
        function = DurableFunction(
            self.app,
            function_id,
            name or function_id,
            handler,
            triggers,
            options,
            tuple(it if isinstance(it, Cancel) else Cancel(it) for it in cancels),
        )
        self._keep(function)
        if on_failure is not None:
            failed = Event(FUNCTION_FAILED, if_=f'event.data.function_id == "{function.slug}"')
            self._keep(
                DurableFunction(self.app, f"{function_id}-failure", f"{function.name} (failure)", on_failure, (failed,))
            )
        return function

    def _keep(self, function: DurableFunction[..., Any]) -> None:
        if not callable(function.handler):
            raise ValueError(f'function "{function.slug}": {function.handler!r} cannot be called')
        known = self._functions.get(function.slug)
        if known is not None:
            both = f"{_place(known.handler)} and {_place(function.handler)}"
            raise ValueError(f'function "{function.slug}" is declared twice: by {both}')
        try:
            function.config()
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f'function "{function.slug}": {error}') from None
        self._functions[function.slug] = function


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f'{what}: "{name}" must be 1 to 128 letters, digits, ".", "_" or "-", and begin with one of the first two'
        )


def _covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _place(handler: Callable[..., Any]) -> str:
    return f"{getattr(handler, '__module__', '?')}.{getattr(handler, '__qualname__', handler)}"
