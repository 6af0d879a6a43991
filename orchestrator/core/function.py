"""Functions: what starts them, how often they are tried, and the promises they ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

#: Retries after the first attempt when a function names none.
DEFAULT_RETRIES = 4


@dataclass(frozen=True, slots=True)
class Trigger:
    """An event name (perhaps a pattern) with a condition, or a cron line; never both."""

    event: str | None = None
    expression: str | None = None
    cron: str | None = None
    jitter: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """An event that cancels the function's runs, within `timeout` of their start."""

    event: str
    expression: str | None = None
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `limit` calls at once per value of `key`, shared within `scope`."""

    limit: int
    key: str | None = None
    scope: Literal["fn", "env", "account"] = "fn"
    #: True: the slot is held from the run's start to its end.
    whole_run: bool = False


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most `limit` starts per `period` (and `burst` more at once) per key; the rest waits."""

    limit: int
    period: timedelta
    burst: int = 0
    key: str | None = None


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `limit` starts per `period` per key; the rest is skipped."""

    limit: int
    period: timedelta
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Debounce:
    """One start, `period` after the last event of a key, at most `timeout` after the first."""

    period: timedelta
    timeout: timedelta | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One start for up to `max_size` events of a key, or after `timeout`."""

    max_size: int
    timeout: timedelta
    key: str | None = None
    expression: str | None = None


@dataclass(frozen=True, slots=True)
class Singleton:
    """One active run per key: a newcomer is skipped, or cancels the one before."""

    mode: Literal["skip", "cancel"]
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """A run is cancelled when it has not started, or not finished, within these."""

    start: timedelta | None = None
    finish: timedelta | None = None

    def __bool__(self) -> bool:
        return self.start is not None or self.finish is not None


@dataclass(frozen=True, slots=True)
class Function:
    """A function as its app describes it.  `slug` is unique on the server: `app-function`."""

    slug: str
    name: str
    url: str
    triggers: tuple[Trigger, ...] = ()
    retries: int = DEFAULT_RETRIES
    cancels: tuple[Cancel, ...] = ()
    concurrency: tuple[Concurrency, ...] = ()
    throttle: Throttle | None = None
    rate_limit: RateLimit | None = None
    debounce: Debounce | None = None
    batch: Batch | None = None
    priority: str | None = None
    singleton: Singleton | None = None
    timeouts: Timeouts = field(default=Timeouts())
    idempotency: str | None = None

    @property
    def max_attempts(self) -> int:
        """How often a step, or the function itself, is tried in all."""
        return self.retries + 1
