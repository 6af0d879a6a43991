"""Concurrency: which pools a run's calls need slots of, and who gets one.

Theory.  A limit has a *pool* of slots for every value of its key.  A call needs one slot of each of its pools.  Pools
have one order for everybody: those of limits on whole runs, those whose key depends on the event (narrow), the rest
(wide).  A call takes its slots in that order and, where one is missing, waits there with those it has.  So it waits for
one slot at a time, calls that need less cannot pass it for ever, and nobody waits in a circle.

A newcomer queues behind those who wait, even if there is room: whoever made the room is about to serve them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.core.function import Concurrency
from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import compile_expression, key_text

#: How much of a key's value is kept for people to read.
SHOWN = 100

_SCOPES = {"fn": "1", "env": "2", "account": "3"}
_WHOLE_RUN, _NARROW, _WIDE = "0", "1", "2"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Pool:
    """One value of a limit's key.  Keys sort in the order in which slots are taken."""

    key: str
    limit_id: str
    #: What the key came to, for people.
    value: str

    @property
    def whole_run(self) -> bool:
        """Whether its slots are held from a run's start to its end."""
        return self.key[0] == _WHOLE_RUN

    @property
    def shared(self) -> bool:
        """Whether calls of other functions fall under it, too."""
        return self.key[1] != _SCOPES["fn"]


@dataclass(frozen=True, slots=True)
class Needs:
    """The pools that each call of a run needs a slot of, in their order, and the lane in which it waits for them."""

    lane: str
    pools: tuple[Pool, ...]

    def text(self) -> str:
        """Write it as JSON, to be kept with the run."""
        return json.dumps([self.lane, [[it.key, it.limit_id, it.value] for it in self.pools]], separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> Needs:
        """Read what `text` wrote."""
        lane, pools = json.loads(text)
        return cls(lane, tuple(Pool(*pool) for pool in pools))


@dataclass(frozen=True, slots=True)
class Level:
    """How full a pool is.  `limit` is the caller's function's; None: it has no such limit any more."""

    used: int
    waiting: int
    limit: int | None

    @property
    def room(self) -> bool:
        """Whether there is a slot left."""
        return self.limit is None or self.used < self.limit


@dataclass(frozen=True, slots=True)
class Turn:
    """What a call got: slots of the pools `taken`, and where it waits for the next; None: it may begin."""

    taken: tuple[str, ...] = ()
    waits_at: str | None = None


def limit_id(limit: Concurrency) -> str:
    """What names a limit through syncs that change its number or its place."""
    return _hash(limit.scope, limit.key or "", str(limit.whole_run))[:16]


def needs(function_id: str, limits: Sequence[Concurrency], event: Any) -> tuple[Needs | None, list[str]]:
    """Work out the pools of a run from its event (decoded), and warnings of keys that have no value for it.

    Such runs share the pool of the empty value: a limit is a promise, so that none escapes it.
    """
    pools, warnings = dict[str, Pool](), list[str]()
    # Of two limits on one pool the smaller counts.
    for limit in sorted(limits, key=lambda it: it.limit):
        try:
            value = key_text(compile_expression(limit.key).evaluate(event)) if limit.key else ""
        except ExpressionError as error:
            value = ""
            warnings.append(f"concurrency key: {error.message}")
        pool = _pool(function_id, limit, value)
        pools.setdefault(pool.key, pool)
    if not pools:
        return None, warnings
    ordered = tuple(pools[key] for key in sorted(pools))
    return Needs(_hash(function_id, *(pool.key for pool in ordered))[:16], ordered), warnings


def rank(now: datetime, priority: int = 0) -> int:
    """The place of a call that begins to wait: the earlier, the better; `priority` counts as seconds of age."""
    return (now - _EPOCH) // _MICROSECOND - priority * 1_000_000


def enter(wanted: Sequence[str], levels: Mapping[str, Level]) -> Turn:
    """What a newcomer gets of the pools `wanted` (in their order)."""
    taken = list[str]()
    for key in wanted:
        level = levels[key]
        if not level.room or level.waiting:
            return Turn(tuple(taken), key)
        taken.append(key)
    return Turn(tuple(taken))


def serve(wanted: Sequence[str], levels: Mapping[str, Level]) -> Turn | None:
    """What the next in line at the first of the pools `wanted` gets; None: nothing, there is no slot for it."""
    first, *rest = wanted
    if not levels[first].room:
        return None
    onward = enter(rest, levels)
    return replace(onward, taken=(first, *onward.taken))


def _pool(function_id: str, limit: Concurrency, value: str) -> Pool:
    """A function's own pool is named by function, limit and value; one that is shared by its value alone."""
    narrow = limit.key is not None and bool(compile_expression(limit.key).roots)
    order = _WHOLE_RUN if limit.whole_run else (_NARROW if narrow else _WIDE)
    own = limit.scope == "fn"
    named = _hash(function_id, limit_id(limit), value) if own else _hash(value)
    return Pool(f"{order}{_SCOPES[limit.scope]}:{named[:40]}", limit_id(limit), value[:SHOWN])


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode(errors="surrogatepass")).hexdigest()
