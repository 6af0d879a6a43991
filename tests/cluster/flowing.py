"""An app with a function under each kind of flow control, which measures by itself what is promised.

A call whose worker was killed may still be at work in the app when it is made again.  It has one slot all the time, so
what is counted is runs, not requests; and a run counts as begun when the app sees it for the first time.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import inngest

from tests.wire.harness import App

FAMILY = "flow"
SECOND = timedelta(seconds=1)
#: What each kind promises.
PER_USER, IN_ALL, SHARED, WHOLE_RUNS = 2, 5, 3, 2
PACE, PACE_PERIOD, PER_HOUR, BATCH = 6, 2 * SECOND, 5, 10
PATIENCE = 60.0

_API = [inngest.Concurrency(limit=SHARED, key='"api"', scope="account")]
_ONE = [inngest.Concurrency(limit=1)]
OPTIONS: dict[str, dict[str, Any]] = {
    "keyed": {
        "concurrency": [inngest.Concurrency(limit=PER_USER, key="event.data.user"), inngest.Concurrency(limit=IN_ALL)]
    },
    "shared-one": {"concurrency": _API},
    "shared-two": {"concurrency": _API},
    "whole": {},
    "throttled": {"throttle": inngest.Throttle(limit=PACE, period=PACE_PERIOD, burst=0)},
    "rated": {"rate_limit": inngest.RateLimit(limit=PER_HOUR, period=3600 * SECOND, key="event.data.user")},
    "once": {"idempotency": "event.data.order"},
    "calm": {"debounce": inngest.Debounce(period=2 * SECOND, key="event.data.user")},
    "many": {"batch_events": inngest.Batch(max_size=BATCH, timeout=3 * SECOND)},
    "urgent": {"concurrency": _ONE, "priority": inngest.Priority(run="event.data.urgent ? 300 : 0")},
    "alone": {"singleton": inngest.Singleton(mode="skip", key="event.data.user")},
    "newest": {"singleton": inngest.Singleton(mode="cancel")},
    "late": {"concurrency": _ONE, "timeouts": inngest.Timeouts(start=6 * SECOND)},
    "long": {"timeouts": inngest.Timeouts(finish=2 * SECOND)},
}


@dataclass
class Begun:
    """A run as the app saw it first."""

    at: float
    data: list[dict[str, Any]]


@dataclass
class Flowing:
    """The functions, and what they saw."""

    app: App
    lock: threading.Lock = field(default_factory=threading.Lock)
    #: By kind and run, in the order of their beginning.
    begun: dict[str, dict[str, Begun]] = field(default_factory=lambda: defaultdict(dict))
    inside: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    #: The most runs at once, and all that ever were, by what was counted.
    most: Counter[str] = field(default_factory=Counter)
    ever: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: Let those out that stand in the way of others.
    doors: dict[str, threading.Event] = field(default_factory=lambda: defaultdict(threading.Event))

    def functions(self) -> list[inngest.Function[Any]]:
        """One of each kind."""
        bodies: dict[str, Callable[[inngest.ContextSync], None]] = {
            "keyed": self._keyed,
            "shared-one": self._shared,
            "shared-two": self._shared,
            "whole": self._whole,
            "urgent": lambda ctx: self._door("urgent", ctx),
            "late": lambda ctx: self._door("late", ctx),
            "alone": self._alone,
            "newest": lambda ctx: ctx.step.sleep("nap", 2 * SECOND),
            "long": lambda ctx: ctx.step.sleep("nap", 3600 * SECOND),
        }
        made = [self._function(kind, bodies.get(kind)) for kind in OPTIONS]
        whole = made[list(OPTIONS).index("whole")]
        whole.get_config = _on_whole_runs(whole.get_config)  # type: ignore[method-assign]
        return made

    def seen(self, kind: str) -> list[list[dict[str, Any]]]:
        """What each run of a kind was begun with, in their order."""
        with self.lock:
            return [begun.data for begun in self.begun[kind].values()]

    def _function(self, kind: str, body: Callable[[inngest.ContextSync], None] | None) -> inngest.Function[Any]:
        @self.app.function(kind, f"{FAMILY}/{kind}", retries=20, **OPTIONS[kind])
        def run(ctx: inngest.ContextSync) -> str:
            with self.lock:
                self.begun[kind].setdefault(
                    ctx.run_id, Begun(time.monotonic(), [dict(event.data) for event in ctx.events])
                )
            if body is not None:
                body(ctx)
            return "done"

        return run

    def _enter(self, run_id: str, *names: str) -> None:
        with self.lock:
            for name in names:
                self.inside[name][run_id] += 1
                self.ever[name].add(run_id)
                self.most[name] = max(self.most[name], len(+self.inside[name]))

    def _leave(self, run_id: str, *names: str) -> None:
        with self.lock:
            for name in names:
                self.inside[name][run_id] -= 1

    @contextmanager
    def _counted(self, run_id: str, *names: str) -> Iterator[None]:
        self._enter(run_id, *names)
        try:
            yield
        finally:
            self._leave(run_id, *names)

    def _keyed(self, ctx: inngest.ContextSync) -> None:
        for step in ("one", "two"):
            ctx.step.run(step, lambda: self._work(ctx, "keyed", f"keyed {ctx.event.data['user']}"))

    def _shared(self, ctx: inngest.ContextSync) -> None:
        ctx.step.run("work", lambda: self._work(ctx, "shared"))

    def _work(self, ctx: inngest.ContextSync, *names: str) -> str:
        with self._counted(ctx.run_id, *names):
            time.sleep(0.04)
        return "done"

    def _whole(self, ctx: inngest.ContextSync) -> None:
        """Inside from its first call until its last step is done, the sleep included."""
        ctx.step.run("begin", lambda: self._enter_once(ctx.run_id))
        ctx.step.sleep("nap", timedelta(milliseconds=300))
        ctx.step.run("end", lambda: self._leave_for_good(ctx.run_id))

    def _enter_once(self, run_id: str) -> str:
        if run_id not in self.ever["whole"]:
            self._enter(run_id, "whole")
        return "in"

    def _leave_for_good(self, run_id: str) -> str:
        with self.lock:
            self.inside["whole"][run_id] = 0
        return "out"

    def _alone(self, ctx: inngest.ContextSync) -> None:
        """Long enough that the next events find it at work."""
        with self._counted(ctx.run_id, f"alone {ctx.event.data['user']}"):
            time.sleep(1.5)

    def _door(self, kind: str, ctx: inngest.ContextSync) -> None:
        if ctx.event.data["n"] == 0:
            self.doors[kind].wait(PATIENCE)


def _on_whole_runs(get_config: Any) -> Any:
    """A declaration with a limit on whole runs, for which the SDK has no word yet."""

    def changed(*args: Any, **options: Any) -> Any:
        found = get_config(*args, **options)
        made = found.main.model_copy(update={"concurrency": {"fn": [{"limit": WHOLE_RUNS}]}})
        return type(found)(main=made, on_failure=found.on_failure)

    return changed
