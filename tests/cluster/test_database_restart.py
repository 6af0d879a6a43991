"""Every connection to the database cut under load: nothing is lost and every process recovers by itself."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.cluster.accounting import Witness
from tests.cluster.test_chaos import Load, check_all_ended
from tests.wire.harness import App, request
from tests.wire.services import Services

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]


def cut_all(url: str) -> None:
    """End every other connection to the database, as its restart does."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    engine.dispose()


def test_connections_cut_under_load_lose_nothing_and_repeat_no_completed_step(tmp_path: Path):
    with Services.started("rabbitmq", tmp_path) as server:
        app = App(server.url, "restart", server.keys)
        witness = Witness(app)
        assert 200 == request("PUT", app.url, {})[0]
        load = Load(server)
        stop = threading.Event()
        for _ in range(6):
            stop.wait(1.5)
            cut_all(server.database_url)
        time.sleep(1.0)
        load.stop()

        check_all_ended(server, load, witness, seed=0)

        assert [] == witness.repeated
        assert len(load.accepted) > 50
        assert all(process.poll() is None for process in server.processes.values())
        app.stop()
