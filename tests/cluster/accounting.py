"""What the apps saw: the only witness that counts when everything else is killed; and what is demanded of it."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import inngest

from tests.wire.harness import App, Server, until


@dataclass(frozen=True)
class Disturbance:
    """Something that was done to a process, or to all of them, and when; times as `time.time()`."""

    what: str
    #: A process, or "*".
    whom: str
    begin: float
    end: float


@dataclass
class Ledger:
    """Which bodies of steps ran and when, which steps were known as done by then, and which events came to an end."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    #: When the body of a run's step was entered, and in which process (0: it is not known which asked for it).
    bodies: dict[tuple[str, str], list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    done: set[tuple[str, str]] = field(default_factory=set)
    repeated: list[tuple[str, str]] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)

    def body(self, run_id: str, name: str, at: float, pid: int = 0) -> None:
        """A body is entered."""
        with self.lock:
            self.bodies[run_id, name].append((at, pid))
            if (run_id, name) in self.done:
                self.repeated.append((run_id, name))

    def known_done(self, run_id: str, names: Sequence[str]) -> None:
        """The function was told that these steps are done: their bodies must not run any more."""
        with self.lock:
            self.done |= {(run_id, name) for name in names}

    def end(self, number: str) -> None:
        """An event came to its end; a run may be told so twice, but the server keeps one end."""
        with self.lock:
            self.ended[number] += 1

    def missing(self, numbers: Sequence[str]) -> set[str]:
        """Those events that have not come to their ends."""
        with self.lock:
            return set(numbers) - set(self.ended)

    @property
    def duplicates(self) -> int:
        """How many bodies ran that had run before."""
        return sum(len(times) - 1 for times in self.bodies.values())

    def repetitions(self) -> list[Repetition]:
        """All bodies that ran again."""
        with self.lock:
            return [
                Repetition(step, before, after, pid)
                for step, times in self.bodies.items()
                for (before, pid), (after, _) in pairwise(sorted(times))
            ]


@dataclass(frozen=True)
class Repetition:
    """The body of a run's step, entered twice, as `time.time()`; `pid` made the first call (0: that is not known)."""

    step: tuple[str, str]
    before: float
    after: float
    pid: int

    def deeds(self, disturbances: Sequence[Disturbance], names: Mapping[int, str]) -> list[Disturbance]:
        """What was done meanwhile to the process that made the first call; `names` are the processes' by their ids.

        A process that is not known may be any.
        """
        about = [it for it in disturbances if self.pid not in names or it.whom in ("*", names[self.pid])]
        return [it for it in about if self.meanwhile(it)]

    def meanwhile(self, it: Disturbance) -> bool:
        """Whether something was done between the two, or shortly before."""
        return it.begin <= self.after and it.end >= self.before - CLOSE

    def told(self, names: Mapping[int, str]) -> str:
        """For people."""
        where = names.get(self.pid, "a process not known")
        return f"{self.step} ran at {self.before:.3f} in {where} and again at {self.after:.3f}"


#: Seconds from the end of a disturbance in which a call may still suffer from it: what was held up is late.
CLOSE = 5.0


class LedgerFile:
    """Reads what `tests.cluster.inside` writes, line by line, into a ledger."""

    def __init__(self, file: Path, ledger: Ledger) -> None:
        self._file = file
        self._ledger = ledger
        self._read = 0

    def read(self) -> None:
        """Read what is new."""
        if not self._file.exists():
            return
        with self._file.open() as lines:
            lines.seek(self._read)
            for line in lines.read().splitlines():
                at, pid, what, run_id, name = line.split()
                if what == "body":
                    self._ledger.body(run_id, name, float(at), int(pid))
                elif what == "done":
                    self._ledger.known_done(run_id, [name])
                else:
                    self._ledger.end(name)
            self._read = lines.tell()


def settle(server: Server, ledger: Ledger, file: LedgerFile, accepted: Mapping[str, str], told: str) -> None:
    """Wait until every accepted event has its one run, which ended right; and demand that no completed step ran again.

    `accepted` are ids of events by their numbers, which are their runs' outputs, too.
    """
    numbers = list(accepted)

    def all_ended() -> bool:
        file.read()
        return not ledger.missing(numbers)

    def still_missing() -> str:
        missing = {number: accepted[number] for number in sorted(ledger.missing(numbers))[:20]}
        runs = {number: server.request("GET", f"/v1/events/{id}/runs")[1]["data"] for number, id in missing.items()}
        shown = {number: server.request("GET", f"/v1/runs/{run['run_id']}") for number, [run] in list(runs.items())[:2]}
        return f"{len(ledger.missing(numbers))} ends are missing ({told}), such as {runs}, {shown}\n{server.log()}"

    until(all_ended, "the ends of all runs:", still_missing, deadline=90)
    for number, event_id in accepted.items():
        until(
            lambda event_id=event_id, number=number: _is_right(server, event_id, number), f"run {number}", deadline=60
        )
    assert [] == ledger.repeated, f"completed steps ran again ({told})"


def _is_right(server: Server, event_id: str, number: str) -> bool:
    runs = server.request("GET", f"/v1/events/{event_id}/runs")[1]["data"]
    assert 1 == len(runs), runs
    assert runs[0]["status"] in ("Running", "Completed"), runs
    return bool(runs[0]["status"] == "Completed" and runs[0]["output"] == number)


class Witness:
    """An app over HTTP with functions of each kind, which notes in a ledger what it is asked to do."""

    #: What the names of its events begin with.
    family = "chaos"

    def __init__(self, app: App, ledger: Ledger | None = None) -> None:
        self.app = app
        self.ledger = ledger or Ledger()
        app.on_call = self.note
        app.serve(self.functions(), sync=False)

    def functions(self) -> list[inngest.Function[Any]]:
        """What the app serves."""
        return [self._chain(), self._nap(), self._group()]

    def _chain(self) -> inngest.Function[Any]:
        @self.app.function("chain", f"{self.family}/chain", retries=20)
        def chain(ctx: inngest.ContextSync) -> object:
            for name in ("a", "b", "c", "d"):
                self.step(ctx, name)
            return self.end(ctx)

        return chain

    def _nap(self) -> inngest.Function[Any]:
        @self.app.function("nap", f"{self.family}/nap", retries=20)
        def nap(ctx: inngest.ContextSync) -> object:
            self.step(ctx, "before")
            ctx.step.sleep("nap", timedelta(seconds=1))
            self.step(ctx, "after")
            return self.end(ctx)

        return nap

    def _group(self) -> inngest.Function[Any]:
        @self.app.function("group", f"{self.family}/group", retries=20)
        def group(ctx: inngest.ContextSync) -> object:
            members = [lambda name=name: self.step(ctx, name) for name in ("x", "y", "z")]
            ctx.group.parallel(tuple(members))
            self.step(ctx, "last")
            return self.end(ctx)

        return group

    def step(self, ctx: inngest.ContextSync, name: str) -> object:
        return ctx.step.run(name, lambda: self.body(ctx.run_id, name))

    def body(self, run_id: str, name: str) -> str:
        self.ledger.body(run_id, name, time.time())
        return name

    def end(self, ctx: inngest.ContextSync) -> str:
        self.ledger.end(str(ctx.event.data["n"]))
        return str(ctx.event.data["n"])

    def note(self, body: Any) -> None:
        """Note the steps a call says are done."""
        done = [memo["data"] for memo in body["steps"].values() if isinstance(memo, dict) and "data" in memo]
        self.ledger.known_done(body["ctx"]["run_id"], [name for name in done if isinstance(name, str)])
