"""A server and an app for each test: a test that moves the clock moves its own.

`--on pg-rabbitmq` or `--on pg-redis` runs the same tests against gunicorn and two Celery workers in processes of their
own; without it the server is in the process of the tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.fast_api import FastApiApp
from tests.wire.harness import App, Embedded, Server
from tests.wire.services import Services

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services | None]:
    where = request.config.getoption("--on")
    if where == "embedded":
        yield None
        return
    with Services.started(where.partition("-")[2], tmp_path_factory.mktemp("services")) as running:
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
    "test_run_loop",
    "test_timeouts",
    "test_waits",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of an app on each framework; on services, which take long, on Flask alone."""
    embedded = metafunc.config.getoption("--on") == "embedded"
    if "app" in metafunc.fixturenames and embedded and metafunc.module.__name__.rpartition(".")[2] in _ON_BOTH:
        metafunc.parametrize("app", [App, FastApiApp], ids=["flask", "fastapi"], indirect=True)


@pytest.fixture
def app(request: pytest.FixtureRequest, server: Server) -> Iterator[App]:
    made: App = getattr(request, "param", App)(server.url, f"app{next(_numbers)}", server.keys)
    yield made
    made.stop()
