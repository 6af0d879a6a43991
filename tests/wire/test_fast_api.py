"""Functions written as coroutines, as users of FastAPI write them; what they may rely on is in the other files."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import inngest
import pytest

from tests.wire.fast_api import FastApiApp
from tests.wire.harness import Server


class Coroutines(FastApiApp):
    """Takes functions as they are."""

    def function(self, fn_id: str, event: str, **options: object) -> object:
        return self.client.create_function(fn_id=fn_id, trigger=inngest.TriggerEvent(event=event), **options)


@pytest.fixture
def app(server: Server) -> Iterator[FastApiApp]:
    made = Coroutines(server.url, "coroutines", server.keys)
    yield made
    made.stop()


def test_a_coroutine_with_steps_in_parallel_a_sleep_and_a_wait_runs_to_its_end(server: Server, app: FastApiApp):
    threads = set[int]()

    async def double(number: int) -> int:
        threads.add(threading.get_ident())
        await asyncio.sleep(0.01)
        return 2 * number

    @app.function("all", "coroutines/all")
    async def everything(ctx: inngest.Context) -> object:
        doubled = await ctx.group.parallel(
            tuple(lambda n=n: ctx.step.run(f"double-{n}", double, n) for n in range(10))  # type: ignore[misc]
        )
        await ctx.step.sleep("nap", timedelta(hours=1))
        event = await ctx.step.wait_for_event("wait", event="coroutines/go", timeout=timedelta(hours=1))
        return [*doubled, event.data["n"]]

    app.serve([everything])
    [run] = server.runs_of(server.send("coroutines/all"))
    server.step(run["run_id"], "nap", "Sleeping")
    server.skip(timedelta(hours=1, seconds=1))
    server.step(run["run_id"], "wait", "Waiting")
    server.send("coroutines/go", {"n": 20})

    assert list(range(0, 21, 2)) == server.run_ended(run["run_id"])["output"]
    assert 1 == len(threads)


def test_the_framework_is_told_when_the_app_is_synced(server: Server, app: FastApiApp):
    @app.function("none", "coroutines/none")
    async def none(ctx: inngest.Context) -> None:
        return None

    app.serve([none])

    [synced] = server.request("GET", "/v1/apps")[1]["data"]
    assert ("fast_api", "py") == (synced["framework"], synced["sdk_language"].removeprefix("inngest-"))
