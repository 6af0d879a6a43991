"""Workers and web killed with -9 at random under load, the broker wiped in between: nothing lost, nothing repeated."""

from __future__ import annotations

import http.client
import os
import random
import threading
import time
from pathlib import Path

import kombu
import pytest

from orchestrator.queue.broker import EXECUTOR_QUEUE, RUNNER_QUEUE
from tests.cluster.accounting import Witness
from tests.wire.harness import App, request, until
from tests.wire.services import Services

#: Half of this for each broker makes the two minutes.
SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
EVENTS_PER_SECOND = 15

pytestmark = [pytest.mark.services, pytest.mark.timeout(SECONDS + 150)]


class Load:
    """Sends events as fast as asked and remembers those that were accepted."""

    def __init__(self, server: Services) -> None:
        self.server = server
        self.accepted: dict[str, str] = {}
        self.refused = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(30)

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(1 / EVENTS_PER_SECOND):
            number += 1
            name = ("chaos/chain", "chaos/nap", "chaos/group")[number % 3]
            try:
                self.accepted[str(number)] = self.server.send(name, {"n": str(number)})
            except (OSError, http.client.HTTPException, AssertionError):
                self.refused += 1


def wipe(broker_url: str) -> None:
    """Delete everything of ours that the broker has."""
    with kombu.Connection(broker_url) as connection:
        channel = connection.channel()
        for name in (RUNNER_QUEUE, EXECUTOR_QUEUE):
            channel.queue_purge(name)


@pytest.mark.parametrize("broker", ["rabbitmq", "redis"])
def test_random_deaths_and_wiped_brokers_lose_nothing_and_repeat_nothing(broker: str, tmp_path: Path):
    seed = int(os.environ.get("CHAOS_SEED", time.time_ns() % 1_000_000))
    chance = random.Random(seed)
    with Services.started(broker, tmp_path) as server:
        app = App(server.url, "chaos", server.keys)
        witness = Witness(app)
        assert 200 == request("PUT", app.url, {})[0]
        load = Load(server)

        kills = _kill_and_wipe(server, chance)
        load.stop()

        check_all_ended(server, load, witness, seed)
        told = f"seed {seed}: {len(load.accepted)} accepted, {load.refused} refused, {kills} kills"
        assert [] == witness.repeated, told
        assert len(load.accepted) > SECONDS * EVENTS_PER_SECOND / 4, told
        app.stop()


def _kill_and_wipe(server: Services, chance: random.Random) -> int:
    begin, kills, wipes = time.monotonic(), 0, [1 / 3, 2 / 3]
    while (past := (time.monotonic() - begin) / SECONDS) < 1:
        time.sleep(chance.uniform(0.2, 2.0))  # this is the chaos, not a wait for something
        if wipes and past > wipes[0]:
            wipes.pop(0)
            wipe(server.broker_url)
        server.kill(chance.choice(server.names))
        kills += 1
        server.start()
    return kills


def check_all_ended(server: Services, load: Load, witness: Witness, seed: int) -> None:
    def missing() -> set[str]:
        with witness.lock:
            return set(load.accepted) - set(witness.ended)

    until(lambda: not missing(), f"the ends of {len(missing())} runs (seed {seed})", server.log, deadline=60)
    for number, event_id in load.accepted.items():
        until(lambda event_id=event_id, number=number: _is_right(server, event_id, number), f"run {number}")


def _is_right(server: Services, event_id: str, number: str) -> bool:
    runs = server.request("GET", f"/v1/events/{event_id}/runs")[1]["data"]
    assert 1 == len(runs), runs
    assert runs[0]["status"] in ("Running", "Completed"), runs
    return runs[0]["status"] == "Completed" and runs[0]["output"] == number
