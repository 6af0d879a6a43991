"""Every part killed, cut off, frozen or emptied at random under load: nothing lost, nothing repeated.

CHAOS_SECONDS, CHAOS_SEED and CHAOS_EVERY (mean seconds between two deeds) set the form; see `make chaos`.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.cluster.accounting import Witness, settle
from tests.cluster.chaos import Chaos
from tests.cluster.cluster import Cluster
from tests.cluster.evidence import charge, tally
from tests.cluster.ground import BROKERS
from tests.cluster.load import Load
from tests.cluster.plan import plan
from tests.wire.harness import App, request

SECONDS = float(os.environ.get("CHAOS_SECONDS", "30"))
EVERY = float(os.environ.get("CHAOS_EVERY", "1.2"))
EVENTS_PER_SECOND = 12.0

pytestmark = [pytest.mark.services, pytest.mark.timeout(SECONDS * 3 + 400)]


@pytest.mark.parametrize("broker", BROKERS)
def test_random_deaths_and_stops_of_every_part_lose_nothing_and_repeat_no_completed_step(broker: str):
    seed = int(os.environ.get("CHAOS_SEED", time.time_ns() % 1_000_000))
    with Cluster.started(broker) as cluster:
        app = App(cluster.url, "chaos", cluster.keys)
        Witness(app, cluster.ledger)
        app_link = cluster.network.link(app.port)
        assert 200 == request("PUT", f"http://127.0.0.1:{app_link.port}/api/inngest", {})[0]

        load = Load(cluster, EVENTS_PER_SECOND)
        Chaos(cluster, app_link).run(plan(seed, SECONDS, EVERY))
        load.stop()
        cluster.wait_until_ready()

        told = f"CHAOS_SEED={seed} CHAOS_SECONDS={SECONDS:g} CHAOS_EVERY={EVERY:g}, {dict(cluster.deaths)}"
        told += f", {len(load.accepted)} accepted, {load.refused} refused"
        settle(cluster, cluster.ledger, cluster.ledger_file, load.accepted, told)
        evidence = cluster.evidence()
        why = dict(tally(cluster.ledger, evidence))
        print(f"{broker}: {told}, {cluster.ledger.duplicates} bodies again: {why}; refusals {dict(load.refusals)}")
        assert [] == charge(cluster.ledger, cluster.disturbances, cluster.by_pid, evidence), told
        assert [] == cluster.ended_alone, told
        # On a busy machine web processes take long to come back; but without events nothing was shown.
        assert len(load.accepted) > SECONDS / 2, told
        app.stop()
