"""A server for each file of tests, and Node apps on it; without Node the tests are skipped, and fail under CI=true.

A Node process takes a second to start, so the tests of a file share it: they must not look at runs but their own.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wire.conftest import services as services
from tests.wire.harness import Embedded, Server
from tests.wire.services import Services
from tests.wire_js.harness import NodeApp

_INSTALL = Path(__file__).parents[2] / "scripts" / "node-app"
#: What the script says when there is no Node to install for.
_NO_NODE = 3
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def node() -> None:
    """Install the SDK; a second time this returns at once."""
    done = subprocess.run([str(_INSTALL)], capture_output=True, text=True, check=False)
    if done.returncode == _NO_NODE and os.environ.get("CI") != "true":
        pytest.skip(done.stderr.strip())
    assert 0 == done.returncode, done.stderr


@pytest.fixture(scope="module")
def server(services: Services | None) -> Iterator[Server]:
    if services is not None:
        services.reset()
        yield services
        return
    embedded = Embedded()
    yield embedded
    embedded.stop()


@pytest.fixture(scope="module")
def make_app(node: None, server: Server) -> Iterator[Callable[..., NodeApp]]:
    made: list[NodeApp] = []

    def make(**options: object) -> NodeApp:
        app = NodeApp(server, f"js{next(_numbers)}", **options)
        app.start()
        made.append(app)
        return app

    yield make
    for app in made:
        app.stop()
