"""SQS, as a stand-in that can be taken away: workers outlive it, and hints come by it again when it is back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import inngest
import pytest

from orchestrator.queue.broker import Broker
from orchestrator.queue.sweep import GRACE
from orchestrator.store import schema
from tests.cluster.ground import SQS
from tests.services import own_database
from tests.wire.brokers import URL
from tests.wire.harness import App, until
from tests.wire.services import Services

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]


@pytest.fixture
def sqs(tmp_path: Path) -> Iterator[SQS]:
    folder = tmp_path / "sqs"
    folder.mkdir()
    made = SQS(folder)
    made.start()
    yield made
    made.kill()


def test_those_who_make_the_same_queues_at_the_same_moment_with_other_attributes_all_have_them(sqs: SQS):
    def make(timeout: int) -> list[str]:
        with Broker(sqs.url(sqs.port), {"visibility_timeout": timeout}).connection(5) as connection:
            channel = connection.channel()
            together.wait(10)
            return [channel.queue_declare(f"q{number}").queue for number in range(6)]

    together = Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(make, (60, 70, 80, 90)))

    assert [[f"q{number}" for number in range(6)]] * 4 == made


def test_a_queue_that_was_deleted_since_it_was_made_is_made_anew_when_it_is_declared(sqs: SQS):
    with Broker(sqs.url(sqs.port)).connection(5) as connection:
        channel = connection.channel()
        channel.queue_declare("q")
        sqs.reset()

        declared = channel.queue_declare("q")

        assert ("q", 0) == (declared.queue, declared.message_count)
        with Broker(sqs.url(sqs.port)).connection(5) as another:
            assert another.channel()._size("q") == 0


def test_a_worker_outlives_sqs_being_away_and_queues_being_gone_and_is_told_of_work_again(sqs: SQS, tmp_path: Path):
    begun = []
    with own_database("postgresql") as url:
        schema.upgrade(url)
        server = Services(tmp_path, url, {URL: sqs.url(sqs.port)}, workers=1)
        server.start()
        app = App(server.url, "shop", server.keys)

        @app.function("told", "shop/told")
        def told(ctx: inngest.ContextSync) -> object:
            return begun.append(time.monotonic())

        app.serve([told])

        def came_by_a_hint() -> bool:
            sent = time.monotonic()
            server.ended(server.send("shop/told"))
            return begun[-1] - sent < GRACE.total_seconds() * 0.9

        until(came_by_a_hint, "a first hint")
        sqs.kill()
        server.ended(server.send("shop/told"))
        sqs.start()
        until(came_by_a_hint, "a hint after it was away", server.log)
        sqs.reset()
        until(came_by_a_hint, "a hint by queues made anew", server.log)

        assert {"web": None, "worker0": None} == {name: process.poll() for name, process in server.processes.items()}
        server.stop()
        app.stop()
