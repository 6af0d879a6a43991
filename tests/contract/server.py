"""A server in production in a process of its own, with an app whose calls fail and some runs of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIGNING_KEY = "signkey-test-12345678"
EVENT_KEY = "contract"
DEADLINE = 60.0
#: Nobody listens there.
_APP = "http://127.0.0.1:9/api/inngest"


@dataclass(frozen=True)
class Server:
    """A server, and ids of things that it knows."""

    url: str
    log: Path

    def ask(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {SIGNING_KEY}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.loads(answer.read() or b"null")

    def records(self) -> list[dict[str, Any]]:
        """What it has logged."""
        lines = self.log.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Start a server in an empty folder, and end it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "INNGEST_"))}
    environment = kept | {
        "ORCHESTRATOR_SIGNING_KEY": SIGNING_KEY,
        "ORCHESTRATOR_EVENT_KEYS": EVENT_KEY,
        "ORCHESTRATOR_ALLOWED_NETWORKS": "127.0.0.0/8",
        "ORCHESTRATOR_HOST": "127.0.0.1",
    }
    environment.pop("DATABASE_URL", None)
    log = folder / "server.log"
    command = [sys.executable, "-m", "orchestrator.cli.main", "start", "--port", "0", "--json"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield Server(_address(log, process), log)
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end and process.poll() is None:
        for record in Server("", log).records():
            if record.get("message") == "server ready":
                return str(record["url"]).replace("localhost", "127.0.0.1")
        time.sleep(0.05)
    raise AssertionError(f"the server did not begin: {log.read_text()[-2_000:]}")


def furnish(server: Server) -> dict[str, str]:
    """Register an app, start runs of it, make a token; returns ids by the names of parameters in paths."""
    functions = [_function(name) for name in ("bill", "ship")]
    about = {"url": _APP, "deployType": "ping", "framework": "flask", "sdk": "py:v0.5.19", "v": "0.1", "headers": {}}
    server.ask("POST", "/fn/register", about | {"appName": "shop", "functions": functions})
    event_id = server.ask("POST", f"/e/{EVENT_KEY}", {"name": "shop/sold", "data": {"n": 1}})["ids"][0]
    order = {"app_id": "shop", "started_before": "2020-01-01T00:00:00Z"}
    return {
        "event_key": EVENT_KEY,
        "event_id": event_id,
        "run_id": _first_run(server),
        "app_id": "shop",
        "app_name": "shop",
        "function_id": "bill",
        "slug": "shop-bill",
        "job_id": "7",
        "token_id": server.ask("POST", "/v1/tokens", {"name": "ci", "scopes": ["read"]})["data"]["id"],
        "cancellation_id": server.ask("POST", "/v1/cancellations", order)["data"]["id"],
    }


def _function(name: str) -> dict[str, Any]:
    runtime = {"type": "http", "url": f"{_APP}?fnId=shop-{name}&stepId=step"}
    step = {"id": "step", "name": "step", "runtime": runtime, "retries": {"attempts": 3}}
    triggers = [{"event": "shop/sold"}]
    return {"id": f"shop-{name}", "name": name, "triggers": triggers, "steps": {"step": step}}


def _first_run(server: Server) -> str:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        for run in server.ask("GET", "/v2/runs")["data"]:
            return str(run["id"])
        time.sleep(0.05)
    raise AssertionError("no run came of the event")
