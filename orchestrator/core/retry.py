"""When a failed attempt is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

#: Waits after attempt 0, 1, 2 ...; the last one repeats.  The table every official SDK's users know (PROTOCOL 4.3).
BACKOFF: Sequence[timedelta] = tuple(
    timedelta(seconds=seconds) for seconds in (15, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200)
)
#: Added to each wait, times a random number in [0, 1), so that what failed together does not come back together.
JITTER = timedelta(seconds=30)
#: What an app may ask for with Retry-After.
RETRY_AFTER_MIN = timedelta(seconds=1)
RETRY_AFTER_MAX = timedelta(hours=24)


def delay(
    attempt: int, chance: float, retry_after: timedelta | None = None, constant: timedelta | None = None
) -> timedelta:
    """How long to wait after the failed `attempt` (0-based).

    `chance` is a random number in [0, 1).  The app's own `retry_after` wins, within bounds; then `constant`, which has
    no jitter.
    """
    if retry_after is not None:
        return min(max(retry_after, RETRY_AFTER_MIN), RETRY_AFTER_MAX)
    if constant is not None:
        return constant
    return BACKOFF[min(attempt, len(BACKOFF) - 1)] + JITTER * chance
