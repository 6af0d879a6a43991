"""What a function's options ask of one start, with their keys evaluated on its event.

A key that is false means that the option does not apply to this event.  One that cannot be evaluated is told as a
warning; rate limit and throttle then count the event under the empty key, since a limit is a promise; debounce, batch
and singleton do not apply then, since an event must not disappear in another's place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from orchestrator.core.function import Batch, Debounce, Function, RateLimit, Singleton, Throttle
from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import compile_expression, key_text

T = TypeVar("T")

#: An idempotency key is remembered so long.
IDEMPOTENCY = timedelta(hours=24)
#: A priority shifts a run's place by so many seconds at most.
MAX_PRIORITY = 600
#: A batch starts when its events have this size, whatever their number.
MAX_BATCH_BYTES = 10 * 1024 * 1024
#: A longer key is told apart by its hash alone.
MAX_KEY_SHOWN = 200


class Skip(StrEnum):
    """Why a run was never admitted."""

    #: The function is paused.
    PAUSED = "paused"
    #: There were as many in this period as there may be.
    RATE_LIMIT = "rate limit"
    #: There was one of the same key in the last 24 hours.
    IDEMPOTENCY = "idempotency"
    #: There is an active run of the same key.
    SINGLETON = "singleton"
    #: Another start of the same key took its place before it began.
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Keyed(Generic[T]):
    """An option and the value of its key."""

    option: T
    key: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of one start."""

    paused: bool = False
    rate: Keyed[RateLimit] | None = None
    #: What the rate limit is called when it refuses.
    rate_is: Skip = Skip.RATE_LIMIT
    debounce: Keyed[Debounce] | None = None
    batch: Keyed[Batch] | None = None
    singleton: Keyed[Singleton] | None = None
    throttle: Keyed[Throttle] | None = None
    priority: int = 0

    def as_fired(self) -> Asked:
        """What is still asked when a timer starts what waited behind the first options."""
        return replace(self, rate=None, debounce=None, batch=None)

    def as_rerun(self) -> Asked:
        """What is still asked when somebody runs again what was started before: its pace, and its place."""
        return Asked(throttle=self.throttle, priority=self.priority)


def asks(function: Function) -> bool:
    """Whether a function has an option that concerns its starts."""
    options = (function.throttle, function.rate_limit, function.debounce, function.batch, function.singleton)
    return any(options) or function.priority is not None or function.idempotency is not None


def asked(function: Function, event: object, *, paused: bool = False, invoked: bool = False) -> tuple[Asked, list[str]]:
    """What a start asks for, and the warnings about keys; `invoked` starts are neither debounced nor batched.

    `event` is the decoded event.
    """
    keys = _Keys(function.slug, event)
    rate = RateLimit(1, IDEMPOTENCY, function.idempotency) if function.idempotency else function.rate_limit
    return (
        Asked(
            paused=paused,
            rate=keys.keyed("rateLimit", rate, rate.key, strict=True) if rate else None,
            rate_is=Skip.IDEMPOTENCY if function.idempotency else Skip.RATE_LIMIT,
            debounce=keys.keyed("debounce", it, it.key) if (it := function.debounce) and not invoked else None,
            batch=keys.batch(function.batch) if function.batch and not invoked else None,
            singleton=keys.keyed("singleton", one, one.key) if (one := function.singleton) else None,
            throttle=keys.keyed("throttle", slow, slow.key, strict=True) if (slow := function.throttle) else None,
            priority=keys.priority(function.priority) if function.priority else 0,
        ),
        keys.warnings,
    )


@dataclass(slots=True)
class _Keys:
    """The keys of one function on one event."""

    slug: str
    event: object
    warnings: list[str] = field(default_factory=list)

    def keyed(self, name: str, option: T, source: str | None, *, strict: bool = False) -> Keyed[T] | None:
        if source is None:
            return Keyed(option)
        try:
            value = compile_expression(source).evaluate(self.event)
            return Keyed(option, key_text(value)) if value is not False else None
        except ExpressionError as error:
            self._warn(name, error)
            return Keyed(option) if strict else None

    def batch(self, batch: Batch) -> Keyed[Batch] | None:
        if batch.expression is not None:
            try:
                if not compile_expression(batch.expression).truth(self.event):
                    return None
            except ExpressionError as error:
                self._warn("batchEvents.if", error)
                return None
        return self.keyed("batchEvents", batch, batch.key)

    def priority(self, source: str) -> int:
        try:
            value = compile_expression(source).evaluate(self.event)
        except ExpressionError as error:
            self._warn("priority", error)
            return 0
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            return 0
        return int(max(-MAX_PRIORITY, min(MAX_PRIORITY, value)))

    def _warn(self, name: str, error: ExpressionError) -> None:
        self.warnings.append(f'{name} of "{self.slug}": {error.message}')
