"""An app with a function of each kind there is, and the events that bring each of its runs to its right end."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import inngest

from tests.cluster.accounting import Witness

#: What becomes of a run of each function.
ENDS = {
    "plain": "Completed",
    "chain": "Completed",
    "group": "Completed",
    "nap": "Completed",
    "wait": "Completed",
    "call": "Completed",
    "retry": "Completed",
    "doomed": "Failed",
    "stopped": "Cancelled",
}
#: What these runs wait for, and what is sent until they have it.
NEEDS = {"wait": "soak/answer", "stopped": "soak/stop"}
_SAME = "event.data.n == async.data.n"
_LONG = timedelta(hours=1)


class Soaked(Witness):
    """Notes, too, whose failure was handled."""

    family = "soak"

    def functions(self) -> list[inngest.Function[Any]]:
        """One of each kind, and the one that is invoked."""
        self.handled = Counter[str]()
        self.child = self._child()
        makers = (self._plain, self._chain, self._group, self._nap, self._wait, self._call, self._retry, self._doomed)
        return [self.child, self._stopped(), *(make() for make in makers)]

    def _plain(self) -> inngest.Function[Any]:
        @self.app.function("plain", "soak/plain", retries=20)
        def plain(ctx: inngest.ContextSync) -> object:
            return self.end(ctx)

        return plain

    def _wait(self) -> inngest.Function[Any]:
        @self.app.function("wait", "soak/wait", retries=20)
        def wait(ctx: inngest.ContextSync) -> object:
            self.step(ctx, "before")
            came = ctx.step.wait_for_event("wait", event=NEEDS["wait"], timeout=_LONG, if_exp=_SAME)
            assert came is not None
            assert ctx.event.data["n"] == came.data["n"]
            self.step(ctx, "after")
            return self.end(ctx)

        return wait

    def _child(self) -> inngest.Function[Any]:
        @self.app.function("child", "soak/child", retries=20)
        def child(ctx: inngest.ContextSync) -> object:
            return int(str(self.step(ctx, "inner") and ctx.event.data["n"]))

        return child

    def _call(self) -> inngest.Function[Any]:
        @self.app.function("call", "soak/call", retries=20)
        def call(ctx: inngest.ContextSync) -> object:
            self.step(ctx, "before")
            given = ctx.step.invoke("call", function=self.child, data={"n": ctx.event.data["n"]})
            assert int(str(ctx.event.data["n"])) == given
            self.step(ctx, "after")
            return self.end(ctx)

        return call

    def _retry(self) -> inngest.Function[Any]:
        @self.app.function("retry", "soak/retry", retries=20)
        def retry(ctx: inngest.ContextSync) -> object:
            self.step(ctx, "before")
            if ctx.attempt == 0:
                raise inngest.RetryAfterError("not yet", timedelta(seconds=1))
            self.step(ctx, "after")
            if ctx.attempt == 0:
                raise inngest.RetryAfterError("nor yet", timedelta(seconds=1))
            return self.end(ctx)

        return retry

    def _doomed(self) -> inngest.Function[Any]:
        def on_failure(ctx: inngest.ContextSync) -> object:
            self.step(ctx, "handle")
            number = str(ctx.event.data["event"]["data"]["n"])  # type: ignore[index, call-overload]
            with self.ledger.lock:
                self.handled[number] += 1
            return number

        @self.app.function("doomed", "soak/doomed", retries=20, on_failure=on_failure)
        def doomed(ctx: inngest.ContextSync) -> object:
            self.step(ctx, "before")
            raise inngest.NonRetriableError("never")

        return doomed

    def _stopped(self) -> inngest.Function[Any]:
        cancel = inngest.Cancel(event=NEEDS["stopped"], if_exp=_SAME)

        @self.app.function("stopped", "soak/stopped", retries=20, cancel=[cancel])
        def stopped(ctx: inngest.ContextSync) -> object:
            self.step(ctx, "before")
            ctx.step.sleep("for ever", _LONG)
            return self.end(ctx)

        return stopped
