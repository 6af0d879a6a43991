"""What the app saw: the only witness that counts when everything else is killed."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any

import inngest

from tests.wire.harness import App


class Witness:
    """An app with functions of each kind; it notes which step bodies ran, and which steps it was told are done."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.lock = threading.Lock()
        self.bodies = Counter[tuple[str, str]]()
        self.told_done: dict[str, set[str]] = defaultdict(set)
        self.repeated: list[tuple[str, str]] = []
        self.ended = Counter[str]()
        app.on_call = self.note
        app.serve(self.functions(), sync=False)

    def functions(self) -> list[inngest.Function[Any]]:
        """What the app serves."""
        return [self._chain(), self._nap(), self._group()]

    def _chain(self) -> inngest.Function[Any]:
        @self.app.function("chain", "chaos/chain", retries=20)
        def chain(ctx: inngest.ContextSync) -> object:
            for name in ("a", "b", "c", "d"):
                self.step(ctx, name)
            return self.end(ctx)

        return chain

    def _nap(self) -> inngest.Function[Any]:
        @self.app.function("nap", "chaos/nap", retries=20)
        def nap(ctx: inngest.ContextSync) -> object:
            self.step(ctx, "before")
            ctx.step.sleep("nap", timedelta(seconds=1))
            self.step(ctx, "after")
            return self.end(ctx)

        return nap

    def _group(self) -> inngest.Function[Any]:
        @self.app.function("group", "chaos/group", retries=20)
        def group(ctx: inngest.ContextSync) -> object:
            members = [lambda name=name: self.step(ctx, name) for name in ("x", "y", "z")]
            ctx.group.parallel(tuple(members))
            self.step(ctx, "last")
            return self.end(ctx)

        return group

    def step(self, ctx: inngest.ContextSync, name: str) -> object:
        return ctx.step.run(name, lambda: self.body(ctx.run_id, name))

    def body(self, run_id: str, name: str) -> str:
        with self.lock:
            self.bodies[run_id, name] += 1
            if name in self.told_done[run_id]:
                self.repeated.append((run_id, name))
        return name

    def end(self, ctx: inngest.ContextSync) -> str:
        """Note which event came to its end; a run may be told so twice, but the server keeps one end."""
        with self.lock:
            self.ended[str(ctx.event.data["n"])] += 1
        return str(ctx.event.data["n"])

    def note(self, body: Any) -> None:
        """Note the steps a call says are done: their bodies must not run any more."""
        done = [memo["data"] for memo in body["steps"].values() if isinstance(memo, dict) and "data" in memo]
        with self.lock:
            self.told_done[body["ctx"]["run_id"]] |= {name for name in done if isinstance(name, str)}
