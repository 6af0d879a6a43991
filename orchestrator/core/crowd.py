"""Why jobs are held back, in sentences for whoever has not read our documents: a limit's slots, a throttle, a gate."""

from __future__ import annotations

import json
from dataclasses import dataclass

from orchestrator.core.concurrency import Pool


@dataclass(frozen=True, slots=True)
class Crowd:
    """A pool at which calls wait: its limit, the value of the limit's key, and how full it is."""

    key: str
    limit_id: str
    #: The limit's key, an expression; None: all calls count together.
    expression: str | None
    value: str
    #: The one function that it limits; None: several share it.
    function_id: str | None
    used: int
    waiting: int
    #: The most at once; None: the limit was taken away.
    allowed: int | None
    #: Some of the runs that are at work in it.
    run_ids: tuple[str, ...] = ()

    @property
    def whole_run(self) -> bool:
        """Whether runs are limited, from beginning to end, and not single calls."""
        return Pool(self.key, self.limit_id, self.value).whole_run


def crowded(crowd: Crowd) -> str:
    """Why calls wait there."""
    what = "run" if crowd.whole_run else "call"
    many = f"{_count(crowd.waiting, 'call')} {'waits' if crowd.waiting == 1 else 'wait'}"
    where = _where(crowd)
    if crowd.allowed is None:
        return f"{many}{where}, though the limit is gone: within a minute they go on"
    if crowd.used < crowd.allowed:
        return f"{many}{where}: {crowd.used} of {crowd.allowed} slots are taken, and the next are being given out"
    whose = "" if crowd.function_id is not None else " of all functions together"
    most = f"at most {_count(crowd.allowed, what)}{whose} may be at work at once{where}"
    return f"{many}: {most}, and {crowd.used} {'is' if crowd.used == 1 else 'are'}; each that ends lets one in"


def throttled(number: int) -> str:
    """Why runs wait before a throttle."""
    return f"{_count(number, 'run')} {'waits' if number == 1 else 'wait'}: a throttle lets them begin at a pace"


def paused(number: int) -> str:
    """Why the runs of a paused function wait."""
    return (
        f"{_count(number, 'run')} {'waits' if number == 1 else 'wait'} until the function, which is paused, is resumed"
    )


def gated(kind: str, number: int) -> str:
    """What debounces and batches wait for."""
    one = number == 1
    if kind == "debounce":
        told = f"{_count(number, 'burst')} of events {'is' if one else 'are'} debounced"
        return f"{told}: a run starts when no more of them come"
    told = f"{_count(number, 'batch', 'batches')} {'fills' if one else 'fill'}"
    return f"{told}: a run starts when {'it' if one else 'one'} is full, or has waited long enough"


def _where(crowd: Crowd) -> str:
    return f" where {crowd.expression} is {json.dumps(crowd.value)}" if crowd.expression else ""


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}".replace(",", " ")
