"""Admission: what becomes of the starts whose functions ask for something, in the transaction that writes them.

Two stages, each behind the locks of all its gates: first whether and when there is a start at all (pause, rate limit,
debounce, batch), then how it gets on with others (singleton, throttle).  What is decided here is written by the same
transaction, or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestrator.core.admission import MAX_KEY_SHOWN, Asked, Skip, asked
from orchestrator.core.effect import Status
from orchestrator.core.function import Function
from orchestrator.engine.batch import Batches, Filling
from orchestrator.engine.debounce import Debounces
from orchestrator.engine.enter import with_limits
from orchestrator.engine.outcome import Outcome, Start
from orchestrator.engine.pause import invoke_error
from orchestrator.engine.rate import Rates
from orchestrator.engine.singleton import Singletons
from orchestrator.engine.throttle import Throttles
from orchestrator.expressions.stored import value_of
from orchestrator.ids import new_ulid
from orchestrator.store import events, gates, skips
from orchestrator.store.apply import Holder, answer_invoker
from orchestrator.store.database import Connection
from orchestrator.store.events import StoredEvent
from orchestrator.store.gates import BATCH, DEBOUNCE, RATE, SINGLETON, THROTTLE, gate_key
from orchestrator.store.jobs import Hint
from orchestrator.store.runs import NewRun
from orchestrator.store.skips import Skipped

_FIRST, _SECOND = (BATCH, DEBOUNCE, RATE), (SINGLETON, THROTTLE)


def admit(conn: Connection, outcomes: Sequence[Outcome], at_once: set[str], by: Holder) -> list[Hint]:
    """Leave in the outcomes only what is to be started, now or by a throttle, and write what becomes of the rest.

    What may not begin at once is taken out of `at_once`.
    """
    if not any(_asking(outcomes, ())):
        return []
    hints = _First(conn, outcomes, by).go() + _Second(conn, outcomes, at_once, by).go()
    skipped = [skip for outcome in outcomes for _, skip in outcome.skipped]
    if skipped:
        skips.add(conn, skipped, by.now)
    for skip in skipped:
        at_once.discard(skip.run.id)
        if skip.run.correlation_id is not None:
            error = invoke_error("InngestInvokeSkippedError", f"the invoked run was skipped: {skip.reason}")
            hints += answer_invoker(conn, skip.run.correlation_id, {"error": error}, by.now)
    return hints


def batch_start(
    function: Function,
    function_id: str,
    version: int,
    filling: Filling,
    first: StoredEvent,
    by: Holder,
    *,
    paused: bool = False,
) -> Start:
    """The start of a batch; keys are those of its first event."""
    data = value_of(first.payload)
    of, _ = asked(function, data, paused=paused)
    new = NewRun(new_ulid(), function_id, version, first.id, first.name, Status.QUEUED, queued_at=by.now)
    run, _ = with_limits(replace(new, batch_id=filling.batch_id), function, data)
    start = Start(run, by.now, function.slug, None, first.received_at, timeouts=function.timeouts)
    return replace(start, asked=of.as_fired(), function=function)


class _First:
    """Whether and when there is a start."""

    def __init__(self, conn: Connection, outcomes: Sequence[Outcome], by: Holder) -> None:
        self._conn, self._outcomes, self._by = conn, outcomes, by
        self._rates, self._debounces, self._batches = Rates(conn), Debounces(conn), Batches(conn)

    def go(self) -> list[Hint]:
        self._load()
        for outcome in self._outcomes:
            outcome.starts = [kept for start in outcome.starts if (kept := self._enter(outcome, start)) is not None]
        self._rates.save()
        return self._debounces.save() + self._batches.save(self._by.now)

    def _load(self) -> None:
        asking = list(_asking(self._outcomes, _FIRST))
        locked = gates.lock(self._conn, _functions(asking), self._by.now)
        asks = Counter(key for _, keys in asking for key in keys.values())
        for start, keys in asking:
            of = start.asked or Asked()
            if (key := keys.get(RATE)) and of.rate and (gate := locked.pop(key, None)):
                self._rates.load(gate, of.rate.option, asks[key])
            if (key := keys.get(DEBOUNCE)) and (gate := locked.pop(key, None)):
                self._debounces.load(gate)
            if (key := keys.get(BATCH)) and (gate := locked.pop(key, None)):
                self._batches.load(gate)

    def _enter(self, outcome: Outcome, start: Start) -> Start | None:
        of, keys, now = start.asked, _gates_of(start, _FIRST), self._by.now
        if of is None:
            return start
        if of.paused:
            outcome.skipped.append((start, Skipped(start.run, Skip.PAUSED, {})))
            return None
        if of.rate and (until := self._rates.admit(keys[RATE], now)):
            about = {"key": of.rate.key[:MAX_KEY_SHOWN], "until": until.isoformat()}
            outcome.skipped.append((start, Skipped(start.run, of.rate_is, about)))
            return None
        if of.debounce:
            self._debounces.put(keys[DEBOUNCE], of.debounce.option, start.run.function_id, outcome.event, now)
        elif of.batch:
            full = self._batches.put(keys[BATCH], of.batch.option, start.run.function_id, outcome.event, now)
            if full is not None:
                return self._batch(outcome, start, full)
        else:
            return start
        outcome.deferred.append((start.slug, DEBOUNCE if of.debounce else BATCH))
        return None

    def _batch(self, outcome: Outcome, start: Start, full: Filling) -> Start:
        known = outcome.event.id == full.event_id
        first = outcome.event if known else events.get(self._conn, full.event_id) or outcome.event
        assert start.function is not None
        return batch_start(start.function, start.run.function_id, start.run.function_version, full, first, self._by)


class _Second:
    """How starts get on with others."""

    def __init__(self, conn: Connection, outcomes: Sequence[Outcome], at_once: set[str], by: Holder) -> None:
        self._conn, self._outcomes, self._at_once, self._by = conn, outcomes, at_once, by
        self._singletons, self._throttles = Singletons(conn), Throttles(conn, by.now)

    def go(self) -> list[Hint]:
        asking = list(_asking(self._outcomes, _SECOND))
        if not asking:
            return []
        locked = gates.lock(self._conn, _functions(asking), self._by.now)
        for start, keys in asking:
            of = start.asked or Asked()
            if (key := keys.get(SINGLETON)) and locked.pop(key, None):
                self._singletons.load(key)
            if (key := keys.get(THROTTLE)) and of.throttle and (gate := locked.pop(key, None)):
                self._throttles.load(gate, of.throttle.option)
        for step in (self._alone, self._replaced, self._throttle):
            for outcome in self._outcomes:
                outcome.starts = [kept for start in outcome.starts if (kept := step(outcome, start)) is not None]
        cancelled, gone = self._singletons.cancel(self._by)
        if cancelled:
            self._outcomes[0].cancelled += cancelled
            self._outcomes[0].freed |= gone.freed
        return gone.hints + self._throttles.save()

    def _alone(self, outcome: Outcome, start: Start) -> Start | None:
        key = _gates_of(start, (SINGLETON,)).get(SINGLETON)
        if key is None or start.asked is None or start.asked.singleton is None:
            return start
        admitted = self._singletons.admit(key, start.asked.singleton.option, start)
        if isinstance(admitted, Start):
            return admitted
        outcome.skipped.append((start, admitted))
        return None

    def _replaced(self, outcome: Outcome, start: Start) -> Start | None:
        skip = self._singletons.replaced(start)
        if skip is None:
            return start
        outcome.skipped.append((start, skip))
        return None

    def _throttle(self, _outcome: Outcome, start: Start) -> Start | None:
        key = _gates_of(start, (THROTTLE,)).get(THROTTLE)
        return self._throttles.admit(key, start, self._at_once) if key is not None else start


def _asking(outcomes: Sequence[Outcome], kinds: Sequence[str]) -> Iterator[tuple[Start, dict[str, str]]]:
    """The starts that ask for something, with their gates of these kinds."""
    for outcome in outcomes:
        for start in outcome.starts:
            if start.asked is not None:
                yield start, _gates_of(start, kinds)


def _gates_of(start: Start, kinds: Sequence[str]) -> dict[str, str]:
    of = start.asked
    if of is None or of.paused:
        return {}
    asked_for = {BATCH: of.batch, DEBOUNCE: of.debounce, RATE: of.rate, SINGLETON: of.singleton, THROTTLE: of.throttle}
    found = {kind: keyed for kind in kinds if (keyed := asked_for[kind]) is not None}
    return {kind: gate_key(kind, start.run.function_id, keyed.key) for kind, keyed in found.items()}


def _functions(asking: Sequence[tuple[Start, dict[str, str]]]) -> dict[str, str]:
    return {key: start.run.function_id for start, keys in asking for key in keys.values()}
