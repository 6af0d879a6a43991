"""The promises a function asks for, as users write them and as an app declares them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from orchestrator.core.durations import format_duration
from orchestrator.core.function import Concurrency as Concurrency
from orchestrator.core.function import RateLimit as RateLimit
from orchestrator.core.function import Throttle as Throttle
from orchestrator.core.function import Timeouts as Timeouts

#: Not the global one, which users seed and processes inherit.
_CHANCE = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, when and for which errors something is tried again.

    `times` counts the tries after the first.  Waits begin with `first` and double up to `cap` ("exponential"), grow by
    `first` ("linear") or stay ("constant"); each is shortened by chance by up to a quarter, so that what failed
    together does not come back together.  Errors that are none of `on` are final.
    """

    times: int
    backoff: Literal["exponential", "linear", "constant"] = "exponential"
    first: timedelta = timedelta(seconds=2)
    cap: timedelta = timedelta(hours=1)
    on: tuple[type[Exception], ...] = (Exception,)

    def wait(self, attempt: int) -> timedelta:
        """The wait after the failed `attempt` (0-based)."""
        factor: int = {"exponential": 2 ** min(attempt, 40), "linear": attempt + 1, "constant": 1}[self.backoff]
        try:
            wait = min(self.first * factor, self.cap)
        except OverflowError:
            wait = self.cap
        return wait * _CHANCE.uniform(0.75, 1)


@dataclass(frozen=True, slots=True)
class Debounce:
    """One start, `period` after the last event of a `key`, at most `timeout` after the first."""

    period: timedelta
    key: str | None = None
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One start for up to `max_size` events of a `key`, or for those there are after `timeout`."""

    max_size: int
    timeout: timedelta
    key: str | None = None
    if_: str | None = None


@dataclass(frozen=True, slots=True)
class Singleton:
    """One active run per `key`: a newcomer is skipped ("skip") or cancels the one before ("cancel")."""

    mode: Literal["skip", "cancel"] = "skip"
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """Everything a function may ask for besides its triggers."""

    retries: int | Retry = 4
    concurrency: int | Concurrency | tuple[Concurrency, ...] | None = None
    throttle: Throttle | None = None
    rate_limit: RateLimit | None = None
    debounce: Debounce | None = None
    batch: Batch | None = None
    priority: str | None = None
    singleton: Singleton | None = None
    timeouts: Timeouts | None = None
    idempotency: str | None = None

    @property
    def retry(self) -> Retry | None:
        """The function's own retry policy, if it has one."""
        return self.retries if isinstance(self.retries, Retry) else None

    @property
    def max_attempts(self) -> int:
        """Tries in all."""
        return (self.retries.times if isinstance(self.retries, Retry) else self.retries) + 1

    def config(self) -> dict[str, Any]:
        """The options as an app declares them; only those that are set."""
        made = {
            "concurrency": self._concurrency(),
            "throttle": self.throttle and _keyed(self.throttle, "limit", "period", "burst"),
            "rateLimit": self.rate_limit and _keyed(self.rate_limit, "limit", "period"),
            "debounce": self.debounce and _keyed(self.debounce, "period", "timeout"),
            "batchEvents": self.batch and self._batch(self.batch),
            "priority": {"run": self.priority} if self.priority else None,
            "singleton": self.singleton and _keyed(self.singleton, "mode"),
            "timeouts": self.timeouts and _fields(self.timeouts, "start", "finish"),
            "idempotency": self.idempotency,
        }
        return {name: value for name, value in made.items() if value}

    def _concurrency(self) -> dict[str, Any] | list[dict[str, Any]] | None:
        match self.concurrency:
            case None:
                return None
            case int() as limit:
                slots: tuple[Concurrency, ...] = (Concurrency(limit),)
            case Concurrency() as one:
                slots = (one,)
            case several:
                slots = several
        whole = [_slot(slot) for slot in slots if slot.whole_run]
        calls = [_slot(slot) for slot in slots if not slot.whole_run]
        return {"fn": whole, "step": calls} if whole else calls

    @staticmethod
    def _batch(batch: Batch) -> dict[str, Any]:
        made = {"maxSize": batch.max_size, **_keyed(batch, "timeout")}
        return made | ({"if": batch.if_} if batch.if_ else {})


def _slot(slot: Concurrency) -> dict[str, Any]:
    return _keyed(slot, "limit", "scope")


def _keyed(option: Any, *names: str) -> dict[str, Any]:
    return _fields(option, *names, "key")


def _fields(option: Any, *names: str) -> dict[str, Any]:
    values: Mapping[str, Any] = {name: getattr(option, name) for name in names}
    return {
        name: format_duration(value) if isinstance(value, timedelta) else value
        for name, value in values.items()
        if value not in (None, 0)
    }
