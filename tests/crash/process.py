"""`orchestrator dev --persist` as a process that can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.wire.harness import request, until

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DevProcess:
    """One server on one port and one directory, started again after each death."""

    def __init__(self, state: Path, database_url: str | None = None) -> None:
        """`database_url`: the state is there, and not in the directory."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._state = state
        self._database = {"ORCHESTRATOR_DATABASE_URL": database_url} if database_url is not None else {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, kill_at: int = 0, moment: str = "after") -> None:
        """Start and wait until it answers; with `kill_at` it kills itself around that commit after the first event."""
        module = ["tests.crash.killer", str(kill_at), moment] if kill_at else ["orchestrator.cli.main"]
        flags = ["dev", "--persist", "--state-dir", str(self._state), "--port", str(self.port)]
        command = [sys.executable, "-m", *module, *flags, "--no-discovery", "--no-poll", "--json"]
        log = (self._state.parent / "server.log").open("ab")
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | self._database | {"PYTHONPATH": "."}
        )
        log.close()
        until(self._answers, "an answer of the server", self.log)

    def kill(self) -> None:
        """Kill it with -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def died(self) -> bool:
        """Wait until it has killed itself."""
        assert self._process is not None
        return self._process.wait(20) == -signal.SIGKILL

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            assert 0 == self._process.wait(10)

    def log(self) -> str:
        return (self._state.parent / "server.log").read_text()[-4000:]

    def send(self, name: str, data: object = None) -> str:
        status, answer = request("POST", f"{self.url}/e/test", {"name": name, "data": data or {}})
        assert 200 == status, answer
        return str(answer["ids"][0])

    def ended(self, event_id: str) -> dict[str, Any]:
        """Wait for the end of the event's one run."""

        def look() -> dict[str, Any] | None:
            runs = request("GET", f"{self.url}/v1/events/{event_id}/runs")[1]["data"]
            if not runs or runs[0]["status"] not in ("Completed", "Failed", "Cancelled"):
                return None
            assert 1 == len(runs)
            run: dict[str, Any] = request("GET", f"{self.url}/v1/runs/{runs[0]['run_id']}")[1]["data"]
            return run

        return until(look, f"the end of the run of {event_id}", self.log)

    def asleep(self, event_id: str) -> bool:
        """Whether the event's one run sleeps."""
        runs = request("GET", f"{self.url}/v1/events/{event_id}/runs")[1]["data"]
        steps = request("GET", f"{self.url}/v1/runs/{runs[0]['run_id']}")[1]["data"]["steps"] if runs else []
        return any(step["status"] == "Sleeping" for step in steps)

    def _answers(self) -> bool:
        try:
            return request("GET", f"{self.url}/health")[0] == 200
        except OSError:
            assert self.alive(), self.log()
            return False
