"""Survey the queue for people: what is to be done and why it waits, who works, and how database and broker are."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.core import crowd
from orchestrator.core.crowd import Crowd
from orchestrator.engine.parts import Parts
from orchestrator.queue.watch import BrokerHealth, BrokerWatch, watch_of
from orchestrator.store import backlog, checkup, pool_use, workers
from orchestrator.store.backlog import MOST, LeasedJob, Named, Pile
from orchestrator.store.database import Connection
from orchestrator.store.filters import Count
from orchestrator.store.jobs import MATCH, TIME_OUT, WAKE
from orchestrator.store.workers import ALIVE, Sign

#: For this long a survey is good enough for a page that asks again and again.
FRESH = timedelta(seconds=2)
#: The most pools, queues and leases that are told one by one.
_CROWDS, _LEASES = 10, 200


@dataclass(slots=True)
class Line:
    """The jobs of one function; without one, those that match events, or the clockwork of the server."""

    function: Named | None
    #: What they are where they belong to no function: `match`, or `clock`.
    own: str = ""
    due: int = 0
    working: int = 0
    parked: int = 0
    held: int = 0
    later: int = 0

    @property
    def urgent(self) -> int:
        """How many could be done by now."""
        return self.due + self.working + self.parked + self.held


@dataclass(frozen=True, slots=True)
class Wait:
    """Why jobs of a function wait; `run_ids` are some runs that are in their way."""

    kind: str
    sentence: str
    function: Named | None
    waiting: int
    crowd: Crowd | None = None
    until: datetime | None = None

    @property
    def run_ids(self) -> Sequence[str]:
        """Some of the runs at work that are in the way."""
        return self.crowd.run_ids if self.crowd is not None else ()


@dataclass(frozen=True, slots=True)
class Work:
    """A job that a worker has in hand."""

    job: LeasedJob
    function: Named | None


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker, how many jobs it has in hand, and some of these."""

    sign: Sign
    alive: bool
    working: int
    works: tuple[Work, ...]


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """The database: what it is, where, and how many of its connections are taken; None: it counts none."""

    product: str
    place: str
    connections: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is at a moment."""

    at: datetime
    oldest_due_at: datetime | None
    due: Count
    working: Count
    parked: Count
    held: Count
    later: Count
    dead: Count
    #: Of those with a time to come: steps that sleep, and waits with a time-out.
    sleeping: int
    waiting: int
    lines: Sequence[Line]
    waits: Sequence[Wait]
    #: Those that live first.
    workers: Sequence[Worker]
    #: Calls that the workers which are alive can make at once.
    executors: int
    database: DatabaseHealth
    broker: BrokerHealth = field(default_factory=lambda: BrokerHealth("none"))

    @property
    def alive(self) -> Sequence[Worker]:
        """The workers that live."""
        return [it for it in self.workers if it.alive]

    @property
    def vanished(self) -> Sequence[Worker]:
        """Those that were killed lately."""
        return [it for it in self.workers if not it.alive]


class Surveyor:
    """Surveys for many who ask at once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._watch = watch_of(parts.announcer)
        self._lock = threading.Lock()
        self._last: Survey | None = None

    def survey(self) -> Survey:
        """Survey now."""
        with self._lock:
            return self._look()

    def lately(self) -> Survey:
        """What was seen lately, by whoever asked: an open page costs no more than one of them."""
        with self._lock:
            known = self._last
            is_good = known is not None and timedelta() <= self._parts.clock.now() - known.at < FRESH
            return known if known is not None and is_good else self._look()

    def broker(self) -> BrokerHealth:
        """How the broker is."""
        return self._watch.ask() if isinstance(self._watch, BrokerWatch) else self._watch

    def _look(self) -> Survey:
        broker = self.broker()
        with self._parts.database.read() as conn:
            database = DatabaseHealth(
                checkup.version(conn), checkup.place(self._parts.database.url), checkup.connections(conn)
            )
            self._last = _survey(conn, self._parts.clock.now(), database, broker)
        return self._last


def _survey(conn: Connection, now: datetime, database: DatabaseHealth, broker: BrokerHealth) -> Survey:
    leased, leases = backlog.leased(conn), backlog.leases(conn, _LEASES)
    parked, exact = backlog.parked(conn)
    held, throttles = backlog.held(conn, _CROWDS)
    piles = {
        "due": backlog.due(conn, now),
        "working": leased,
        "parked": parked,
        "held": held,
        "later": backlog.later(conn, now),
    }
    crowds, gates = pool_use.crowds(conn, _CROWDS), backlog.open_gates(conn)
    known = {pile.function_id for some in (*piles.values(), gates) for pile in some}
    known |= {*(it.function_id for it in crowds), *(it.function_id for it in throttles)}
    names = backlog.names(conn, {it for it in known if it is not None})
    signs = workers.known(conn, now)
    found = sorted(_workers(signs, leased, leases, names, now), key=lambda it: not it.alive)
    by_kind = Counter[str]()
    for pile in piles["later"]:
        by_kind[pile.kind] += pile.number
    return Survey(
        at=now,
        oldest_due_at=backlog.oldest_due(conn, now),
        due=_sum(piles["due"]),
        working=_sum(leased),
        # Not counted one by one, and so not bounded.
        parked=Count(sum(it.number for it in parked), exact),
        held=_sum(held),
        later=_sum(piles["later"]),
        dead=_count(backlog.dead(conn)),
        sleeping=by_kind[WAKE],
        waiting=by_kind[TIME_OUT],
        lines=_lines(piles, names),
        waits=[
            *_slots(crowds, names),
            *_throttles(throttles, names),
            *_held(held, names),
            *_gates(gates, names),
        ],
        workers=found,
        executors=sum(it.sign.executors for it in found if it.alive),
        database=database,
        broker=broker,
    )


def _sum(piles: Iterable[Pile]) -> Count:
    return _count(sum(it.number for it in piles))


def _count(counted: int) -> Count:
    return Count(min(counted, MOST), counted <= MOST)


def _lines(piles: Mapping[str, Sequence[Pile]], names: Mapping[str, Named]) -> list[Line]:
    """A line for each function, those first that have most to do; the server's own after them."""
    found = dict[str, Line]()
    for state, some in piles.items():
        for pile in some:
            name = names.get(pile.function_id or "")
            own = "" if name is not None else "match" if pile.kind == MATCH else "clock"
            line = found.setdefault(name.id if name is not None else own, Line(name, own))
            setattr(line, state, getattr(line, state) + pile.number)
    return sorted(found.values(), key=lambda it: (it.function is None, -it.urgent, -it.later, _slug(it)))


def _slug(line: Line) -> str:
    return line.function.slug if line.function is not None else line.own


def _slots(crowds: Iterable[Crowd], names: Mapping[str, Named]) -> Iterator[Wait]:
    for it in crowds:
        yield Wait("slot", crowd.crowded(it), names.get(it.function_id or ""), it.waiting, it)


def _throttles(found: Iterable[backlog.Throttle], names: Mapping[str, Named]) -> Iterator[Wait]:
    for it in found:
        name = names.get(it.function_id or "")
        yield Wait("throttle", crowd.throttled(it.number), name, it.number, until=it.next_at)


def _held(found: Iterable[Pile], names: Mapping[str, Named]) -> Iterator[Wait]:
    for it in found:
        if it.kind == "pause":
            yield Wait("paused", crowd.paused(it.number), names.get(it.function_id or ""), it.number)


def _gates(found: Iterable[Pile], names: Mapping[str, Named]) -> Iterator[Wait]:
    for it in found:
        yield Wait(it.kind, crowd.gated(it.kind, it.number), names.get(it.function_id or ""), it.number)


def _workers(
    signs: Iterable[Sign],
    leased: Iterable[Pile],
    leases: Iterable[LeasedJob],
    names: Mapping[str, Named],
    now: datetime,
) -> Iterator[Worker]:
    number, works = Counter[str](), dict[str, list[Work]]()
    for pile in leased:
        number[pile.owner or ""] += pile.number
    for job in leases:
        works.setdefault(job.owner, []).append(Work(job, names.get(job.function_id or "")))
    for sign in signs:
        alive = sign.seen_at >= now - ALIVE
        yield Worker(sign, alive, number[sign.owner], tuple(works.get(sign.owner, ())))
