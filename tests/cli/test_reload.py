"""Rules of `orchestrator dev --app`: new code is served as it is saved, and what was under way goes on with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.exits import Exit
from tests.crash.process import ROOT, free_port
from tests.wire.harness import request, until

pytestmark = pytest.mark.timeout(120)
DEADLINE = 60.0
CODE = """
    from orchestrator import Event, Orchestrator
    from shop.words import WORD

    durable = Orchestrator("shop")


    @durable.function(on=Event("greet"))
    def greet(ctx):
        return WORD


    @durable.function(on=Event("wait"))
    def wait(ctx):
        first = ctx.step.run("first", lambda: WORD)
        ctx.step.wait_for_event("go", "go", "1h")
        return [first, WORD]
"""


class Dev:
    """`orchestrator dev --app shop.functions` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.project, self.temporary = folder / "project", folder / "tmp"
        self.temporary.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.write("shop/__init__.py", "")
        self.write("shop/words.py", 'WORD = "one"')
        self.write("shop/functions.py", CODE)

    def write(self, name: str, text: str) -> None:
        file = self.project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))

    def start(self, *flags: str, app: str = "shop.functions", ready: bool = True) -> None:
        command = [sys.executable, "-m", "orchestrator.cli.main", "dev", "--app", app, "--port", str(self.port)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "INNGEST_"))}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--no-discovery", "--no-poll", "--json", *flags],
                cwd=self.project,
                env=kept | {"PYTHONPATH": str(ROOT), "TMPDIR": str(self.temporary)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if ready:
            self.said("app synced")

    def said(self, what: str, times: int = 1) -> None:
        """Wait until it has said so."""
        until(lambda: self.log().count(what) >= times, f"{what!r} in the log", self.log, DEADLINE)

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def send(self, name: str) -> str:
        status, answer = request("POST", f"{self.url}/e/test", {"name": name, "data": {}})
        assert 200 == status, answer
        return str(answer["ids"][0])

    def step_done(self, event_id: str) -> None:
        until(lambda: "run waiting" in self.log(), f"the wait of {event_id}", self.log, DEADLINE)

    def output(self, event_id: str) -> Any:
        def look() -> Any:
            found = request("GET", f"{self.url}/v1/events/{event_id}/runs")[1]["data"]
            return found[0] if found and found[0]["status"] in ("Completed", "Failed") else None

        return until(look, f"the end of {event_id}", self.log, DEADLINE)["output"]

    def end(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def close(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    made = Dev(tmp_path)
    yield made
    made.close()


def test_a_saved_module_is_served_and_runs_under_way_go_on_with_it(dev: Dev) -> None:
    dev.start()
    assert "one" == dev.output(dev.send("greet"))
    waiting = dev.send("wait")
    dev.step_done(waiting)

    dev.write("shop/words.py", 'WORD = "two"')
    dev.said("server ready", times=2)

    assert "two" == dev.output(dev.send("greet"))
    dev.send("go")
    assert ["one", "two"] == dev.output(waiting)


def test_code_that_cannot_be_loaded_is_shown_and_the_next_save_tried_again(dev: Dev) -> None:
    dev.start()
    waiting = dev.send("wait")
    dev.step_done(waiting)

    dev.write("shop/words.py", "WORD = (")
    dev.said("waiting for a change")
    assert "apps: the module shop.functions cannot be imported" in dev.log()
    assert "SyntaxError" in dev.log()
    assert "_frozen_importlib" not in dev.log()
    dev.write("shop/words.py", "import shop.missing")
    dev.said("waiting for a change", times=2)
    dev.write("shop/missing.py", "")
    dev.said("'WORD' from 'shop.words'")
    dev.write("shop/words.py", 'WORD = "three"')

    dev.said("server ready", times=2)
    dev.send("go")
    assert ["one", "three"] == dev.output(waiting)


def test_a_first_start_with_broken_code_waits_too_and_ends_when_told(dev: Dev) -> None:
    dev.write("shop/words.py", "raise LookupError('no words')")
    dev.start(ready=False)
    dev.said("waiting for a change")
    assert "LookupError: no words" in dev.log()

    assert 0 == dev.end()
    assert [] == list(dev.temporary.iterdir())


def test_told_to_end_it_ends_at_once_and_takes_the_temporary_state_with_it(dev: Dev) -> None:
    dev.start()
    assert [] != list(dev.temporary.iterdir())

    began = time.monotonic()
    assert 0 == dev.end()

    assert time.monotonic() - began < 10
    assert [] == list(dev.temporary.iterdir())


def test_a_killed_supervisor_leaves_no_server_behind(dev: Dev) -> None:
    dev.start()
    assert dev.process is not None

    dev.process.kill()
    dev.process.wait(10)

    def refused() -> bool:
        try:
            request("GET", f"{dev.url}/health")
        except OSError:
            return True
        return False

    until(refused, "the end of the server", dev.log, DEADLINE)


def test_without_reload_saved_modules_are_left_alone(dev: Dev) -> None:
    dev.start("--no-reload")
    dev.write("shop/words.py", 'WORD = "two"')
    time.sleep(1)

    assert "one" == dev.output(dev.send("greet"))
    assert "code changed" not in dev.log()


def test_a_module_that_is_not_there_ends_the_command_with_a_sentence(dev: Dev) -> None:
    dev.start(app="shop.nothing", ready=False)
    assert dev.process is not None

    assert Exit.CONFIG == dev.process.wait(30)
    assert f"apps: there is no module shop.nothing as seen from {dev.project}" in dev.log()
    assert "Traceback" not in dev.log()
