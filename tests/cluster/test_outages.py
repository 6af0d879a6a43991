"""The broker away, the database restarted, every process exchanged under load: nothing lost, all by itself.

OUTAGE_SECONDS says how long the broker is away: `make chaos` takes a minute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.accounting import Witness, settle
from tests.cluster.cluster import WEBS, WORKERS, Cluster
from tests.cluster.evidence import charge, tally
from tests.cluster.ground import BROKERS
from tests.cluster.load import Load
from tests.wire.harness import App, request, until

AWAY = float(os.environ.get("OUTAGE_SECONDS", "6"))
#: Seconds a sender waits for an answer: a machine that stands still for some is no refusal.
PATIENCE = 30.0

pytestmark = [pytest.mark.services, pytest.mark.timeout(400 + 2 * AWAY)]


@contextmanager
def under_load(broker: str, per_second: float, former: Path | None = None) -> Iterator[tuple[Cluster, Load]]:
    """A cluster that gets events; at the end each that was accepted must have its run, ended right.

    What ran again without a reason fails the test.
    """
    with Cluster.started(broker, former) as cluster:
        app = App(cluster.url, "chaos", cluster.keys)
        Witness(app, cluster.ledger)
        assert 200 == request("PUT", app.url, {})[0]
        load = Load(cluster, per_second, PATIENCE)
        yield cluster, load
        load.stop()
        told = f"{len(load.accepted)} accepted, {load.refused} refused"
        settle(cluster, cluster.ledger, cluster.ledger_file, load.accepted, told)
        evidence = cluster.evidence()
        print(f"{broker}: {told}, bodies again: {dict(tally(cluster.ledger, evidence))}")
        assert [] == charge(cluster.ledger, cluster.disturbances, cluster.by_pid, evidence)
        cluster.heal()
        assert [] == cluster.ended_alone
        app.stop()


def enough(load: Load, more: int) -> None:
    """Wait until so many more events are accepted."""
    wanted = len(load.accepted) + more
    until(lambda: len(load.accepted) >= wanted, f"{more} more events", deadline=60)


@pytest.mark.parametrize("broker", BROKERS)
def test_while_the_broker_is_away_every_event_is_accepted_and_run(broker: str):
    with under_load(broker, 10) as (cluster, load):
        enough(load, 10)
        cluster.broker.kill()
        before = len(load.accepted)
        time.sleep(AWAY)  # the outage itself
        enough(load, max(0, before + int(AWAY) + 1 - len(load.accepted)))
        cluster.broker.start()
        enough(load, 10)
    # Nothing was noted as done to those who call, so that no body had a reason to run twice, but for starvation.
    assert [] == cluster.disturbances
    assert {} == load.refusals


def test_connections_cut_and_a_restarted_database_under_load_lose_nothing_and_every_process_recovers_by_itself():
    with under_load("redis", 10) as (cluster, load):
        enough(load, 10)
        for _ in range(3):
            for link in cluster.database_links.values():
                link.cut()
            cluster.disturb("cut", "*", 1.0)
            enough(load, 10)
        for _ in range(3):
            begin = time.time()
            cluster.database.kill()
            time.sleep(1.0)  # away for a while
            cluster.database.start()
            cluster.disturb("restart database", "*", begin=begin)
            enough(load, 10)


def test_a_rolling_restart_of_every_process_onto_another_broker_under_load_loses_nothing_and_repeats_nothing():
    """As `docs/brokers.md` tells it; whoever changes nothing but the processes does less."""
    with under_load("rabbitmq", 10) as (cluster, load), cluster.another_broker("redis") as redis:
        enough(load, 10)
        for name in (*WORKERS, *WEBS):
            begin = time.monotonic()
            code = cluster.terminate(name)
            assert (0, True) == (code, time.monotonic() - begin < 10), name
            cluster.take_broker(redis, name)
            cluster.start(name)
            cluster.wait_until_ready()
            enough(load, 5)
        cluster.broker.kill()
        enough(load, 20)
    assert 0 == cluster.ledger.duplicates
