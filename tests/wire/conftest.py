"""A server and an app for each test: a test that moves the clock moves its own.

`--on pg-rabbitmq` or `--on pg-redis` runs the same tests against gunicorn and two Celery workers in processes of their
own; without it the server is in the process of the tests.

The rules of modules marked `every_driver` hold for functions over HTTP and for those in process, `plain` and `awaited`
(see `tests.wire.inprocess`); those marked `over_http(reason)` are about HTTP itself, or about what is done for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.harness import App, Embedded, Server
from tests.wire.inprocess import LocalApp
from tests.wire.services import Services

#: How functions are called.
DRIVERS = ("http", "plain", "awaited")
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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the drivers; the workers of services hold no functions of this process."""
    if "driver" not in metafunc.fixturenames:
        return
    marked = metafunc.definition.get_closest_marker
    every = marked("every_driver") is not None and marked("over_http") is None
    embedded = metafunc.config.getoption("--on") == "embedded"
    metafunc.parametrize("driver", DRIVERS if every and embedded else DRIVERS[:1])


@pytest.fixture
def app(server: Server, driver: str) -> Iterator[App | LocalApp]:
    made: App | LocalApp
    if isinstance(server, Embedded) and driver != "http":
        made = LocalApp(server.embedded, f"app{next(_numbers)}", awaited=driver == "awaited")
    else:
        made = App(server.url, f"app{next(_numbers)}", server.keys)
    yield made
    made.stop()
