"""What an operator wants of a function's starts, in place of what its app declares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from orchestrator.core.function import Function, RateLimit, Throttle


@dataclass(frozen=True, slots=True)
class Starts:
    """So many starts within a period."""

    limit: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class Overrides:
    """The limits on starts that an operator has set; None: what the app declares counts."""

    throttle: Starts | None = None
    rate_limit: Starts | None = None

    def on(self, function: Function) -> Function:
        """The function with these limits; keys and bursts stay those of the app.

        One that its app does not limit is limited over all its starts.  A rate limit that cannot stand beside what the
        app asks for by now is left out (see `takes_rate_limit`).
        """
        if (starts := self.throttle) is not None:
            declared = function.throttle or Throttle(starts.limit, starts.period)
            function = replace(function, throttle=replace(declared, limit=starts.limit, period=starts.period))
        if (starts := self.rate_limit) is not None and takes_rate_limit(function):
            limited = function.rate_limit or RateLimit(starts.limit, starts.period)
            function = replace(function, rate_limit=replace(limited, limit=starts.limit, period=starts.period))
        return function


def takes_rate_limit(function: Function) -> bool:
    """Whether a function may have a rate limit: one with batches may not, and idempotency is another one."""
    return function.batch is None and function.idempotency is None
