"""Flow control while workers are killed with -9 at random: each kind keeps its promise as the app sees it.

All kinds are at work together, on three workers of which one is killed every second or two.  What is asserted is what
the app saw; at the end nothing is taken, nobody waits, and the counts are those of the rows.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.engine.parts import Settings
from orchestrator.store import cure
from orchestrator.store.database import Database
from orchestrator.store.tables import functions, jobs, pools, runs, slots
from tests.cluster.flowing import (
    BATCH,
    FAMILY,
    IN_ALL,
    OPTIONS,
    PACE,
    PACE_PERIOD,
    PER_HOUR,
    PER_USER,
    SHARED,
    WHOLE_RUNS,
    Flowing,
)
from tests.wire.harness import App, request, until
from tests.wire.services import Services

#: The least time in which workers are killed.
SECONDS = float(os.environ.get("CHAOS_SECONDS", "60")) / 3
#: When all of it must be over, on whatever machine.
DEADLINE = SECONDS + 150
USERS = ("ann", "ben", "cleo", "dora")
#: Events that are sent one bundle after the other while workers die, by kind; each bundle has some of each user.
SENT = {
    "keyed": [{"user": USERS[n % 4], "n": n} for n in range(200)],
    "shared-one": [{"n": n} for n in range(40)],
    "shared-two": [{"n": n} for n in range(40)],
    "whole": [{"n": n} for n in range(57)],  # three at a time, which is one more than may be under way
    "rated": [{"user": USERS[n % 4], "n": n} for n in range(80)],
    "once": [{"order": n % 20} for n in range(60)],
    "many": [{"n": n} for n in range(95)],
    "alone": [{"user": USERS[n % 4], "n": n} for n in range(120)],
    "long": [{"n": n} for n in range(8)],
}
BUNDLES, CALM_ROUNDS, WAITING, THROTTLED = 19, 3, 6, 30
#: Kinds of which the first call stays until all others wait for its slot.
BLOCKED = ("urgent", "late")

pytestmark = [
    pytest.mark.services,
    pytest.mark.timeout(DEADLINE + 120),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),  # see `Flowing.functions`
]
Data = dict[str, Any]


@dataclass
class Site:
    """The server under fire, the app, and what is known at the end."""

    server: Services
    flowing: Flowing
    database: Database
    chance: random.Random
    told: str = ""
    #: The statuses of all runs, by kind; and the runs themselves.
    ended: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    rows: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def send(self, kind: str, data: list[Data]) -> list[str]:
        """Send events in one request: all of them are there, or none."""
        body = [{"name": f"{FAMILY}/{kind}", "data": it} for it in data]
        status, answer = request("POST", f"{self.server.url}/e/{self.server.keys.event}", body)
        assert 200 == status, answer
        return list(answer["ids"])

    def wait(self, what: str, look: Any) -> Any:
        return until(look, what, self.left, deadline=DEADLINE)

    def left(self) -> str:
        """For people: what is still to be done, and what the processes said last."""
        with self.database.read() as conn:
            open_runs = select(runs).where(runs.c.status.in_(("queued", "running")))
            rows = [dict(row._mapping) for it in (select(jobs), open_runs, select(slots)) for row in conn.execute(it)]
        return "\n".join(("", self.told, *map(str, rows[:60]), self.server.log()))

    def steadily(self) -> None:
        """All that is to be throttled, and then a piece of each kind, again and again."""
        self.send("throttled", [{"n": n} for n in range(THROTTLED)])
        for bundle in range(BUNDLES):
            for kind, data in SENT.items():
                some = data[bundle::BUNDLES]
                if some:
                    self.send(kind, some)
            time.sleep(SECONDS / BUNDLES)  # that the kills fall between them

    def calmly(self) -> None:
        """Bursts of events, each after the one before has led to its runs."""
        for turn in range(CALM_ROUNDS):
            self.send("calm", [{"user": user, "turn": turn, "n": n} for n in range(5) for user in USERS])
            wanted = len(USERS) * (turn + 1)
            self.wait(f"round {turn}", lambda wanted=wanted: len(self.flowing.seen("calm")) >= wanted)

    def behind_a_door(self, kind: str) -> None:
        """Behind a call that stays others wait for its slot, until all of them do."""
        self.wait(f"the first of {kind}", lambda: self.flowing.seen(kind))
        self.send(kind, [{"n": n, "urgent": n % 2 == 1} for n in range(1, WAITING + 1)])
        if kind == "urgent":
            self.wait("those who wait", lambda: self._waiting() == WAITING)
        else:
            self.wait("the end of those who waited", lambda: self._ends(kind)["cancelled"] == WAITING)
        self.flowing.doors[kind].set()

    def take_the_slots(self) -> None:
        """The calls that stay."""
        for kind in BLOCKED:
            self.send(kind, [{"n": 0, "urgent": False}])

    def spared(self) -> list[str]:
        """Workers at a job that has lost others: with the fifth it is buried, as promised, which others test."""
        unlucky = select(jobs.c.owner).where(jobs.c.crashes >= Settings().max_crashes - 2, jobs.c.owner.is_not(None))
        with self.database.read() as conn:
            return list(conn.scalars(unlucky))

    def newly(self) -> None:
        for n in range(4):
            [event_id] = self.send("newest", [{"n": n}])
            self.wait("a run", lambda event_id=event_id: self._runs_of(event_id))

    def look(self) -> bool:
        """Whether nothing is left to do; and what has become of all."""
        with self.database.read() as conn:
            left = conn.execute(select(jobs.c.id).limit(1)).first()
            slugs = {row.id: row.slug for row in conn.execute(select(functions))}
            found = conn.execute(select(runs)).all()
        self.ended.clear()
        self.rows.clear()
        for run in found:
            kind = slugs[run.function_id].removeprefix(f"{FAMILY}-")
            self.ended[kind][run.status] += 1
            self.rows[kind].append(run)
        return left is None and not {"queued", "running"} & {run.status for run in found}

    def _ends(self, kind: str) -> Counter[str]:
        self.look()
        return self.ended[kind]

    def _runs_of(self, event_id: str) -> Any:
        return self.server.request("GET", f"/v1/events/{event_id}/runs")[1]["data"]

    def _waiting(self) -> int:
        """Runs of the urgent kind that are parked."""
        with self.database.read() as conn:
            kind = select(runs.c.id).join(functions, functions.c.id == runs.c.function_id)
            kind = kind.where(functions.c.slug == f"{FAMILY}-urgent")
            parked = select(jobs.c.id).where(jobs.c.state == 1, jobs.c.run_id.in_(kind))
            return len(conn.execute(parked).all())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Everything that happens; the tests below only look at it."""
    seed = int(os.environ.get("CHAOS_SEED", time.time_ns() % 1_000_000))
    with Services.started("rabbitmq", tmp_path_factory.mktemp("flow"), workers=3) as server:
        app = App(server.url, FAMILY, server.keys)
        made = Site(server, Flowing(app), Database(server.database_url), random.Random(seed))
        app.serve(made.flowing.functions())
        try:
            kills = go(made)
        finally:
            app.stop()
        made.told = f"seed {seed}, {kills} kills, most {dict(made.flowing.most)}, ends {dict(made.ended)}"
        print(made.told)
        yield made
        made.database.close()


def go(site: Site) -> int:
    """Send everything while workers are killed, and wait until all is done; returns how many were."""
    over = threading.Event()
    site.take_the_slots()
    with ThreadPoolExecutor(6) as threads:
        killing = threads.submit(kill, site, over)
        doing = [site.steadily, site.calmly, site.newly]
        began = [threads.submit(do) for do in doing]
        began += [threads.submit(site.behind_a_door, kind) for kind in BLOCKED]
        try:
            wait(began, return_when=FIRST_EXCEPTION)
            for one in began:
                if one.done():
                    one.result()
        finally:
            over.set()
        kills = killing.result(60)
    site.wait("the end of all runs", site.look)
    return kills


def kill(site: Site, over: threading.Event) -> int:
    """Kill one worker after the other, as long as another one is at work, and start it again."""
    kills = 0
    while not over.wait(site.chance.uniform(0.2, 1.5)):
        ready, spared = site.server.at_work(), site.spared()
        fair = [name for name in ready if not any(owner in site.server.said(name) for owner in spared)]
        if len(ready) > 1 and fair:
            site.server.kill(site.chance.choice(fair))
            kills += 1
            site.server.begin()
    site.server.start()
    return kills


def numbers(site: Site, kind: str) -> list[int]:
    """The numbers of a kind's events, as its runs began with them."""
    return [int(data["n"]) for run in site.flowing.seen(kind) for data in run]


def test_no_more_calls_are_under_way_than_limits_by_key_and_in_all_allow(site: Site) -> None:
    most = site.flowing.most

    assert IN_ALL == most["keyed"], site.told
    assert {PER_USER} == {most[f"keyed {user}"] for user in USERS}, site.told
    assert {"completed": 200} == site.ended["keyed"]
    assert set(range(200)) == set(numbers(site, "keyed"))


def test_a_limit_that_functions_share_counts_the_calls_of_both(site: Site) -> None:
    assert SHARED == site.flowing.most["shared"], site.told
    assert ({"completed": 40}, {"completed": 40}) == (site.ended["shared-one"], site.ended["shared-two"])


def test_no_more_runs_are_under_way_than_a_limit_on_whole_runs_allows(site: Site) -> None:
    assert WHOLE_RUNS == site.flowing.most["whole"], site.told
    assert {"completed": 57} == site.ended["whole"]


def test_throttled_starts_are_spaced_and_all_come(site: Site) -> None:
    times = sorted(begun.at for begun in site.flowing.begun["throttled"].values())
    # A start whose worker is killed before its call is out counts then, and is seen later.
    span = PACE_PERIOD.total_seconds() / 2
    most = max(sum(one <= other < one + span for other in times) for one in times)

    assert most <= PACE, site.told
    assert (THROTTLED, {"completed": THROTTLED}) == (len(times), site.ended["throttled"])


def test_a_rate_limit_lets_exactly_so_many_start(site: Site) -> None:
    by_user = Counter(data["user"] for run in site.flowing.seen("rated") for data in run)

    assert dict.fromkeys(USERS, PER_HOUR) == by_user
    assert {"completed": PER_HOUR * 4, "skipped": 80 - PER_HOUR * 4} == site.ended["rated"]


def test_of_an_idempotency_key_one_run_starts(site: Site) -> None:
    assert dict.fromkeys(range(20), 1) == Counter(data["order"] for run in site.flowing.seen("once") for data in run)
    assert {"completed": 20, "skipped": 40} == site.ended["once"]


def test_a_burst_is_debounced_to_one_run_with_its_last_event(site: Site) -> None:
    wanted = [{"user": user, "turn": turn, "n": 4} for turn in range(CALM_ROUNDS) for user in USERS]

    assert wanted == sorted(
        (data for run in site.flowing.seen("calm") for data in run), key=lambda data: (data["turn"], data["user"])
    )
    assert {"completed": len(wanted)} == site.ended["calm"]


def test_batches_are_no_larger_than_they_may_be_and_hold_each_event_once(site: Site) -> None:
    sizes = [len(run) for run in site.flowing.seen("many")]

    assert list(range(95)) == sorted(numbers(site, "many"))
    assert max(sizes) <= BATCH, sizes
    assert {"completed": len(sizes)} == site.ended["many"]


def test_those_of_priority_go_first_among_those_who_wait(site: Site) -> None:
    first, *rest = numbers(site, "urgent")

    assert (0, {1, 3, 5}, {2, 4, 6}) == (first, set(rest[:3]), set(rest[3:])), site.told


def test_of_a_singleton_one_run_is_active_and_the_others_are_skipped(site: Site) -> None:
    ended, most = site.ended["alone"], site.flowing.most

    assert {1} == {most[f"alone {user}"] for user in USERS}, site.told
    assert (120, {"completed", "skipped"}) == (ended.total(), set(ended))
    assert ended["completed"] == len(site.flowing.seen("alone"))


def test_the_newest_of_a_singleton_that_cancels_is_the_one_that_completes(site: Site) -> None:
    newest = max(site.rows["newest"], key=lambda run: run.queued_at)

    assert "completed" == newest.status, site.told
    assert {"cancelled", "completed"} >= set(site.ended["newest"])
    assert 4 == site.ended["newest"].total()


def test_runs_that_begin_or_end_too_late_are_cancelled(site: Site) -> None:
    assert {"cancelled": WAITING, "completed": 1} == site.ended["late"]
    assert {"cancelled": 8} == site.ended["long"]


def test_at_the_end_nothing_is_taken_and_the_counts_are_those_of_the_rows(site: Site) -> None:
    def settled() -> bool:
        with site.database.read() as conn:
            taken = conn.execute(select(slots.c.id)).all()
            counts = {(row.used, row.waiting) for row in conn.execute(select(pools))}
            return not taken and counts <= {(0, 0)} and cure.miscounted(conn) == []

    site.wait("no slot to be taken", settled)
    assert set(OPTIONS) == set(site.ended)
    assert "slots set right" not in "".join(site.server.said(name) for name in site.server.names)
