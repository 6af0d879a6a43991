"""What the chaos does, and when: made from a seed before it begins, so that a failure can be looked for again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.cluster.cluster import WEBS, WORKERS

#: What may be done to what, and how often compared with the rest.
_CHANCES = {"kill": 16, "cut database": 2, "cut broker": 2, "freeze database": 1, "freeze broker": 1, "wipe": 1}
#: Seconds of rest at the start and at the end of a plan.
_CALM = 1.0


@dataclass(frozen=True, order=True)
class Deed:
    """Something to do, seconds after the begin; `lasts` until it is undone."""

    at: float
    what: str
    whom: str
    lasts: float = 0.0


def plan(seed: int, seconds: float, every: float) -> list[Deed]:
    """Deeds for so many seconds, one `every` seconds or so.

    The broker is killed once a third of the time, the database restarted once, the app cut off once.
    """
    chance = random.Random(seed)
    deeds = [
        Deed(seconds * 0.2, "kill broker", "*", 3.0),
        Deed(seconds * 0.45, "restart database", "*", 2.0),
        Deed(seconds * 0.65, "freeze app", "*", 2.0),
        Deed(seconds * 0.8, "kill broker", "*", 3.0),
    ]
    free_at = dict.fromkeys((*WEBS, *WORKERS), 0.0)
    now = _CALM
    while (now := now + chance.expovariate(1 / every)) < seconds - _CALM:
        [what] = chance.choices(list(_CHANCES), list(_CHANCES.values()))
        there = [name for name, at in free_at.items() if at <= now]
        if what == "wipe" or not there:
            deeds.append(Deed(now, "wipe", "*"))
            continue
        # Workers rather than web processes, as nothing is accepted while those are away.
        [whom] = chance.choices(there, [1 if name in WEBS else 2 for name in there])
        lasts = 0.0 if what.startswith("cut") else chance.uniform(0.3, 3.0)
        # What was just started is mostly given the time to come up: what never works can lose nothing.
        free_at[whom] = now + lasts + (chance.uniform(2.0, 12.0) if what == "kill" else 0.0)
        deeds.append(Deed(now, what, whom, lasts))
    return sorted(deeds)
