"""A thousand runs of every kind, on workers that are killed every few seconds: each comes to its own end, once."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.cluster.soaking import ENDS, NEEDS, Soaked
from tests.wire.harness import App, request, until
from tests.wire.services import Services

RUNS = int(os.environ.get("SOAK_RUNS", "1000"))
#: How long workers are killed; less than a minute is enough for all of it on a machine with nothing else to do.
SECONDS = float(os.environ.get("SOAK_SECONDS", "45"))
#: When all of it must be over, on whatever machine.
DEADLINE = SECONDS + 150
_BATCH = 200

pytestmark = [pytest.mark.services, pytest.mark.timeout(DEADLINE + 120)]


class Killer:
    """Kills one worker after the other with -9, and starts it again, until it is told to stop."""

    def __init__(self, server: Services, chance: random.Random) -> None:
        self.server, self.chance, self.kills = server, chance, 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let all of them live; they run when this returns."""
        self._stopped.set()
        self._thread.join(60)
        self.server.start()

    def _run(self) -> None:
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends and not self._stopped.wait(self.chance.uniform(1.0, 4.0)):
            self.server.kill(self.chance.choice(["worker0", "worker1"]))
            self.kills += 1
            self.server.start()


@dataclass
class Runs:
    """The runs that are expected, each by the number in its event."""

    server: Services
    kinds: dict[str, str]
    events: dict[str, str] = field(default_factory=dict)
    ended: dict[str, tuple[str, object]] = field(default_factory=dict)

    def send(self) -> None:
        numbers = list(self.kinds)
        for at in range(0, len(numbers), _BATCH):
            some = numbers[at : at + _BATCH]
            batch = [{"name": f"soak/{self.kinds[number]}", "data": {"n": number}} for number in some]
            self.events |= zip(some, self._post(batch), strict=True)

    def look(self) -> bool:
        """Look at those that have not ended, and send again what some of them wait for; True: all have ended."""
        left = [number for number in self.kinds if number not in self.ended]
        for number in left:
            runs = self.server.request("GET", f"/v1/events/{self.events[number]}/runs")[1]["data"]
            assert len(runs) <= 1, runs
            if runs and runs[0]["ended_at"] is not None:
                self.ended[number] = runs[0]["status"], runs[0]["output"]
        needy = [n for n in left if n not in self.ended and self.kinds[n] in NEEDS]
        if needy:
            self._post([{"name": NEEDS[self.kinds[number]], "data": {"n": number}} for number in needy])
        return len(self.ended) == len(self.kinds)

    def told(self) -> str:
        left = Counter(self.kinds[number] for number in self.kinds if number not in self.ended)
        return f"not ended: {dict(left)}\n{self.server.log()}"

    def counted(self) -> dict[tuple[str, str], int]:
        """How many runs of each function there are in each status."""
        engine = create_engine(self.server.database_url)
        query = "SELECT f.slug, r.status, count(*) FROM runs r JOIN functions f ON f.id = r.function_id GROUP BY 1, 2"
        with engine.connect() as conn:
            found = {(slug, status): count for slug, status, count in conn.execute(text(query))}
        engine.dispose()
        return found

    def left_over(self) -> list[str]:
        """The kinds of jobs that are still there."""
        engine = create_engine(self.server.database_url)
        with engine.connect() as conn:
            found = list(conn.execute(text("SELECT kind FROM jobs WHERE kind <> 'match'")).scalars())
        engine.dispose()
        return found

    def _post(self, batch: list[dict[str, object]]) -> list[str]:
        status, answer = self.server.request("POST", f"/e/{self.server.keys.event}", batch)
        assert 200 == status, answer
        return list(answer["ids"])


def test_a_thousand_runs_of_every_kind_come_to_their_end_while_workers_die(tmp_path: Path):
    seed = int(os.environ.get("SOAK_SEED", time.time_ns() % 1_000_000))
    kinds = {str(number): list(ENDS)[number % len(ENDS)] for number in range(RUNS)}
    with Services.started("rabbitmq", tmp_path) as server:
        app = App(server.url, "soak", server.keys)
        witness = Soaked(app)
        assert 200 == request("PUT", app.url, {})[0]
        runs = Runs(server, kinds)
        killer = Killer(server, random.Random(seed))
        try:
            runs.send()
            until(runs.look, f"the ends of all runs (seed {seed})", runs.told, deadline=DEADLINE)
            doomed = {number for number, kind in kinds.items() if kind == "doomed"}
            until(lambda: set(witness.handled) >= doomed, f"the handled failures (seed {seed})", runs.told, deadline=60)
        finally:
            killer.stop()
        until(lambda: not runs.left_over(), f"the last job (seed {seed})", lambda: str(runs.left_over()), deadline=60)

        told = f"seed {seed}: {killer.kills} kills"
        wrong = {n: (kinds[n], *end) for n, end in runs.ended.items() if end[0] != ENDS[kinds[n]]}
        assert {} == wrong, told
        outputs = {number: output for number, (status, output) in runs.ended.items() if status == "Completed"}
        assert {number: number for number in outputs} == outputs, told
        assert [] == witness.ledger.repeated, told
        assert _expected(kinds) == runs.counted(), told
        assert killer.kills >= 3, told
        app.stop()


def _expected(kinds: dict[str, str]) -> dict[tuple[str, str], int]:
    """All runs there may be: those of the events, those they invoke, and those that handle a failure."""
    of = Counter(kinds.values())
    expected = {(f"soak-{kind}", ENDS[kind].lower()): count for kind, count in of.items()}
    return expected | {("soak-child", "completed"): of["call"], ("soak-doomed-failure", "completed"): of["doomed"]}
