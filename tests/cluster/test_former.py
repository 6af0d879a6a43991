"""A deploy under load: the database upgraded while the version before works, whose processes then give way to these.

FORMER_CHECKOUT names a checkout of that version, made ready with `make venv`; without one there is none to come from:

    git worktree add /tmp/former REVISION && make -C /tmp/former venv
    FORMER_CHECKOUT=/tmp/former pytest tests/cluster/test_former.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster.cluster import WEBS, WORKERS
from tests.cluster.test_outages import enough, under_load

FORMER = os.environ.get("FORMER_CHECKOUT")

pytestmark = [
    pytest.mark.services,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not FORMER, reason="FORMER_CHECKOUT names no checkout to come from; CI has none, either"),
]


@pytest.mark.parametrize("broker", ["rabbitmq", "redis"])
def test_the_code_before_works_on_an_upgraded_database_and_beside_this_code_and_nothing_is_lost_or_repeated(
    broker: str,
):
    former = Path(str(FORMER)).resolve()
    with under_load(broker, 10, former) as (cluster, load):
        enough(load, 20)
        cluster.upgrade()
        enough(load, 60)
        for name in (*WORKERS, *WEBS):
            assert 0 == cluster.terminate(name)
            del cluster.homes[name]
            cluster.start(name)
            cluster.wait_until_ready()
            enough(load, 15)
        enough(load, 30)
    assert 0 == cluster.ledger.duplicates
