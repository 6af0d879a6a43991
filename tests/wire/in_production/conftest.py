"""Servers in production mode, and apps with keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import inngest
import pytest

from tests.wire.harness import Keys
from tests.wire.in_production.kinds import MakeApp, Start
from tests.wire.production import EVENT_KEY, KEY, ProductionApp, ProductionServer


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers; all of a test have one state directory."""
    with ExitStack() as stack:

        def started(**flags: object) -> ProductionServer:
            server = ProductionServer(tmp_path / "state", **flags)
            stack.callback(server.stop)
            return server

        yield started


@pytest.fixture
def server(start: Start) -> ProductionServer:
    return start()


@pytest.fixture
def make_app() -> Iterator[MakeApp]:
    """Make apps with one function, `greet`, of two steps; they are served, and not synced."""
    with ExitStack() as stack:

        def made(server: ProductionServer, signing_key: str = KEY, **options: Any) -> ProductionApp:
            app = ProductionApp(server.url, "shop", Keys(EVENT_KEY, signing_key), **options)
            stack.callback(app.stop)

            @app.function("greet", "shop/greet")
            def greet(ctx: inngest.ContextSync) -> object:
                first = ctx.step.run("first", lambda: "x" * int(ctx.event.data.get("size", 1)))
                if ctx.event.data.get("nap"):
                    ctx.step.sleep("nap", timedelta(hours=1))
                second = ctx.step.run("second", lambda: first)
                return len(first) + len(second)

            app.serve([greet])
            return app

        yield made
