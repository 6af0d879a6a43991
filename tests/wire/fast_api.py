"""Apps on FastAPI and the official SDK, whose functions are coroutines, for tests written with plain functions.

A test says `ctx.step.run("one", lambda: 1)` and means the same for Flask and for FastAPI.  Here its function becomes a
coroutine that runs the test's code in a thread; each step of that code is awaited in the app's event loop, as the
SDK's asynchronous half wants it.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import fastapi
import inngest
import inngest.fast_api
import uvicorn

from tests.wire.harness import DEADLINE, App, Request, until

#: Many: each function and each step of a test may hold one while it waits for another.
_threads = ThreadPoolExecutor(200, thread_name_prefix="test-app")


@dataclass
class FastApiApp(App):
    """An app on FastAPI, served by uvicorn in a thread."""

    _server: uvicorn.Server = field(init=False)
    _thread: threading.Thread = field(init=False)

    def create(self, fn_id: str, trigger: Any, **options: Any) -> Callable[[Any], inngest.Function[Any]]:
        """Declare a function; it and its failure handler become coroutines."""
        if "on_failure" in options:
            options["on_failure"] = _coroutine(options["on_failure"])
        declare = super().create(fn_id, trigger, **options)
        return lambda body: declare(_coroutine(body))

    def come_back(self) -> None:
        """Listen where it listened before."""
        sock = socket.create_server(("127.0.0.1", self.port))
        self.port = sock.getsockname()[1]
        config = uvicorn.Config(self._web, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [sock]}, daemon=True)
        self._thread.start()
        until(lambda: self._server.started, "uvicorn")

    def go_down(self) -> None:
        """Stop listening."""
        self._server.should_exit = True
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()

    def _made(self, functions: Sequence[inngest.Function[Any]]) -> Any:
        web = fastapi.FastAPI()
        inngest.fast_api.serve(web, self.client, list(functions))
        return self._noting(web)

    def _noting(self, web: Any) -> Any:
        async def noting(scope: Any, receive: Any, send: Any) -> None:
            body = await _whole(receive)
            query = dict(parse_qsl(scope["query_string"].decode()))
            headers = {name.decode().title(): value.decode() for name, value in scope["headers"]}
            asked = Request(scope["method"], query, headers, _decoded(body))
            await _in_thread(partial(self._keep, asked))
            messages = [{"type": "http.request", "body": body, "more_body": False}]

            async def again() -> Any:
                return messages.pop() if messages else await receive()

            await web(scope, again, send)

        return noting


def _coroutine(body: Callable[[Any], object]) -> Callable[[inngest.Context], Awaitable[object]]:
    async def function(ctx: inngest.Context) -> object:
        return await _in_thread(partial(body, _Context(ctx, asyncio.get_running_loop())))

    return function


class _Context:
    """What a test's function gets: an SDK context whose steps are waited for."""

    def __init__(self, ctx: inngest.Context, loop: asyncio.AbstractEventLoop) -> None:
        self._ctx = ctx
        self.step = _Step(ctx.step, loop)
        self.group = _Group(ctx.group, loop)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)


class _Step:
    def __init__(self, step: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._step, self._loop = step, loop

    def run(self, step_id: str, handler: Callable[..., object], *args: Any, **options: Any) -> Any:
        async def body(*given: Any) -> object:
            return await _in_thread(partial(handler, *given))

        return _waited(self._step.run(step_id, body, *args, **options), self._loop)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._step, name)
        return lambda *args, **options: _waited(method(*args, **options), self._loop)


class _Group:
    def __init__(self, group: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._group, self._loop = group, loop

    def parallel(self, callables: Sequence[Callable[[], object]], **options: Any) -> Any:
        steps = tuple(partial(_in_thread, step) for step in callables)
        return _waited(self._group.parallel(steps, **options), self._loop)


def _waited(coroutine: Any, loop: asyncio.AbstractEventLoop) -> Any:
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(DEADLINE)


async def _in_thread(work: Callable[[], object]) -> Any:
    """Do it in a thread, in the present context: the SDK keeps there whether steps are parallel."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_threads, context.run, work)


async def _whole(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
