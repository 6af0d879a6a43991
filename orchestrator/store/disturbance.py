"""Transactions that the database took back for the sake of others: they are done again.

Locks are taken in one order everywhere, so on PostgreSQL this is nearly never seen.  InnoDB also locks entries of
indexes on the way to a row, in orders of its own, and now and then ends one of two that stand in each other's way.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from orchestrator import log
from orchestrator.store import mysql

_log = log.get(__name__)

#: How often something is done at most.
TRIES = 10
#: Seconds before it is done again, for the first time; later ones take longer.
_PAUSE = 0.004
#: Not the global one, which users seed and processes inherit.
_CHANCE = random.SystemRandom()
#: PostgreSQL's words for a deadlock and for two transactions that cannot both be true.
_DISTURBED = ("40P01", "40001")

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


def is_disturbance(error: BaseException) -> bool:
    """Whether the database took a transaction back for another one's sake: nothing of it was written."""
    cause = getattr(error, "orig", error)
    return mysql.is_disturbance(error) or getattr(cause, "sqlstate", None) in _DISTURBED


def undisturbed(do: Callable[P, T]) -> Callable[P, T]:
    """Do it again, from its beginning, when its transaction was taken back.

    For what does nothing but read before its transaction is committed, and nothing afterwards that fails for a
    transaction of its own; or for what may be done twice.
    """

    @wraps(do)
    def again_and_again(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, TRIES):
            try:
                return do(*args, **kwargs)
            except Exception as error:
                if not is_disturbance(error):
                    raise
                _log.debug("transaction disturbed", of=do.__qualname__, attempt=attempt)
                time.sleep(_PAUSE * attempt * _CHANCE.uniform(0.5, 1.5))
        return do(*args, **kwargs)

    return again_and_again


def disturbable(why: str) -> Callable[[F], F]:
    """Declare that a writer is not to be done again by itself, and why not.

    A test looks at every function that opens a transaction: it is `undisturbed`, or says so.
    """
    assert why

    def declare(do: F) -> F:
        return do

    return declare
