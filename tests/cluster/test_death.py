"""Who died is noticed: on PostgreSQL a killed worker's runs continue within a second, long before leases run out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import inngest
import pytest

from tests.wire.harness import App
from tests.wire.services import Services

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with Services.started("rabbitmq", tmp_path_factory.mktemp("services")) as running:
        yield running


@pytest.fixture
def app(services: Services) -> Iterator[App]:
    services.reset()
    made = App(services.url, "death", services.keys)
    yield made
    made.stop()


def test_a_killed_workers_run_continues_within_a_second(services: Services, app: App):
    entered = [threading.Event(), threading.Event()]
    began: list[float] = []
    leave = threading.Event()

    @app.function("slow", "death/slow")
    def slow(ctx: inngest.ContextSync) -> object:
        def body() -> int:
            began.append(time.monotonic())
            entered[len(began) - 1].set()
            leave.wait(20)
            return len(began)

        return ctx.step.run("slow", body)

    app.serve([slow])
    event_id = services.send("death/slow")
    assert entered[0].wait(10)

    services.kill(services.holder())
    killed_at = time.monotonic()

    assert entered[1].wait(5)
    leave.set()
    assert began[1] - killed_at < 1.0
    assert "Completed" == services.ended(event_id)["status"]
    services.start()


def test_a_worker_told_to_end_lets_a_short_call_finish_and_is_gone_in_ten_seconds(services: Services, app: App):
    entered, leave = threading.Event(), threading.Event()
    bodies: list[int] = []

    @app.function("short", "death/short")
    def short(ctx: inngest.ContextSync) -> object:
        def body() -> str:
            bodies.append(1)
            entered.set()
            leave.wait(20)
            return "whole"

        return ctx.step.run("short", body)

    app.serve([short])
    event_id = services.send("death/short")
    assert entered.wait(10)
    name = services.holder()

    told_at = time.monotonic()
    services.processes[name].terminate()
    threading.Timer(2.0, leave.set).start()
    services.processes.pop(name).wait(10)

    assert time.monotonic() - told_at < 10
    assert ("Completed", "whole", 1) == (*_ended(services, event_id), len(bodies))
    services.start()


def test_a_worker_told_to_end_hands_a_long_call_to_another(services: Services, app: App):
    entered = [threading.Event(), threading.Event()]
    leave = threading.Event()
    attempts: list[int] = []

    @app.function("long", "death/long")
    def long(ctx: inngest.ContextSync) -> object:
        def body() -> str:
            attempts.append(ctx.attempt)
            entered[min(len(attempts), 2) - 1].set()
            leave.wait(30)
            return "whole"

        return ctx.step.run("long", body)

    app.serve([long])
    event_id = services.send("death/long")
    assert entered[0].wait(10)
    name = services.holder()

    told_at = time.monotonic()
    services.processes[name].terminate()
    services.processes.pop(name).wait(12)

    took = time.monotonic() - told_at
    assert entered[1].wait(5)
    leave.set()
    assert took < 10
    assert ("Completed", "whole", [0, 0]) == (*_ended(services, event_id), attempts)
    services.start()


def test_without_a_broker_work_is_found_by_the_sweep(services: Services, app: App):
    @app.function("plain", "death/plain")
    def plain(ctx: inngest.ContextSync) -> object:
        return ctx.step.run("a", lambda: 1)

    app.serve([plain])
    for name in services.names:
        services.kill(name)
    with_broker, services.broker = services.broker, {}
    services.start()

    run = services.ended(services.send("death/plain"))

    for name in services.names:
        services.kill(name)
    services.broker = with_broker
    services.start()
    assert ("Completed", 1) == (run["status"], run["output"])


def _ended(services: Services, event_id: str) -> tuple[str, object]:
    run = services.ended(event_id)
    return run["status"], run["output"]
