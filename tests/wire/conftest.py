"""A server and an app for each test: a test that moves the clock moves its own.

`--on pg-rabbitmq`, `pg-redis` or `maria-rabbitmq` runs the same tests against gunicorn and two Celery workers in
processes of their own, on that database and broker; without it the server is in the process of the tests.

The rules of modules marked `every_driver` hold for functions over HTTP and for those in process, `plain` and `awaited`
(see `tests.wire.inprocess`); those marked `over_http(reason)` are about HTTP itself, or about what is done for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.fast_api import FastApiApp
from tests.wire.harness import App, Embedded, Server
from tests.wire.inprocess import IN_PROCESS, LocalApp
from tests.wire.services import Services

_DATABASES = {"pg": "postgresql", "maria": "mariadb"}
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services | None]:
    where = request.config.getoption("--on")
    if where == "embedded":
        yield None
        return
    database, _, broker = where.partition("-")
    folder = tmp_path_factory.mktemp("services")
    with Services.started(broker, folder, database=_DATABASES[database]) as running:
        yield running


@pytest.fixture
def server(services: Services | None, tmp_path: Path) -> Iterator[Server]:
    if services is not None:
        services.reset()
        yield services
        return
    embedded = Embedded()
    yield embedded
    embedded.stop()


#: What these test is the same for functions on Flask and for coroutines on FastAPI.
_ON_BOTH = {
    "test_app_changes",
    "test_cancel_on",
    "test_cancellations",
    "test_invoke",
    "test_parallel_steps",
    "test_run_ends",
    "test_run_failures",
    "test_run_loop",
    "test_timeouts",
    "test_waits",
}
#: Where it could make a difference in process whether the function is a coroutine.
_AWAITED = {
    "test_invoke",
    "test_parallel_steps",
    "test_run_ends",
    "test_run_failures",
    "test_run_loop",
    "test_signals",
    "test_waits",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of an app with each driver; on services, which take long, on Flask alone."""
    if "driver" not in metafunc.fixturenames:
        return
    marked = metafunc.definition.get_closest_marker
    module, drivers = metafunc.module.__name__.rpartition(".")[2], ["flask"]
    if metafunc.config.getoption("--on") == "embedded":
        if module in _ON_BOTH:
            drivers.append("fastapi")
        if marked("every_driver") is not None and marked("over_http") is None:
            drivers += IN_PROCESS if module in _AWAITED else IN_PROCESS[:1]
    metafunc.parametrize("driver", drivers)


@pytest.fixture
def app(server: Server, driver: str) -> Iterator[App | LocalApp]:
    made: App | LocalApp
    name = f"app{next(_numbers)}"
    if driver in IN_PROCESS:
        assert isinstance(server, Embedded)
        made = LocalApp(server.embedded, name, awaited=driver == "awaited")
    else:
        made = (FastApiApp if driver == "fastapi" else App)(server.url, name, server.keys)
    yield made
    made.stop()
