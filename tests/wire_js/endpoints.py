"""Durable endpoints on the official TypeScript SDK, in a Node process, and a client of theirs."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from tests.wire.harness import DEADLINE, Server, until
from tests.wire_js.harness import HERE


@dataclass(frozen=True)
class Told:
    """What a client of an endpoint got in the end, and from where."""

    status: int
    headers: dict[str, str]
    body: Any
    url: str


@dataclass
class EndpointApp:
    """A Node process that serves the endpoints of `endpoints.js`."""

    server: Server
    port: int = 0
    told: list[dict[str, Any]] = field(default_factory=list)

    def start(self) -> None:
        """Start the process, at the port it had before if it had one."""
        self.told.clear()
        self._process = subprocess.Popen(
            ["node", "endpoints.js"],
            cwd=HERE,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        self.port = until(lambda: next((it["port"] for it in self.told if "port" in it), None), "the port")

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait(10)
        self._reader.join(10)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def open(self) -> None:
        """Let the endpoint go on that waits at its gate."""
        assert self._process.stdin is not None
        self._process.stdin.write("open\n")
        self._process.stdin.flush()

    def ask(self, path: str, body: object = None) -> Told:
        """Ask an endpoint, following where it leads."""
        data = json.dumps(body).encode() if body is not None else None
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data)
        if data is not None:
            asked.add_header("Content-Type", "application/json")
        return fetch(asked)

    def run_of(self, path: str) -> str:
        """Wait until the SDK has begun a run for a request to this path; returns its id."""

        def look() -> str | None:
            begun = [it["asked"]["body"] for it in list(self.told) if "asked" in it]
            begun = [it for it in begun if it and it.get("event", {}).get("data", {}).get("path") == path]
            return begun[-1]["run_id"] if begun else None

        return until(look, f"a run for {path}", lambda: json.dumps(self.told[-5:]))

    def ran(self, path: str) -> list[str]:
        """The step bodies that ran for this path."""
        return [it["ran"] for it in list(self.told) if it.get("path") == path and "ran" in it]

    def repeated(self, path: str) -> list[dict[str, Any]]:
        """The requests to this path that the server made."""
        found = [it["request"] for it in list(self.told) if "request" in it]
        return [it for it in found if it["path"] == path and "x-run-id" in it["headers"]]

    def _read(self, pipe: Any) -> None:
        for line in pipe:
            self.told.append(json.loads(line))

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "INNGEST_"))}
        kept["LISTEN"] = str(self.port)
        keys = self.server.keys
        if keys is None:
            return kept | {"INNGEST_DEV": self.server.url}
        return kept | {"INNGEST_BASE_URL": self.server.url, "INNGEST_SIGNING_KEY": keys.signing}


def fetch(asked: urllib.request.Request | str) -> Told:
    """Send a request as a browser would: without any key, following where it leads."""
    try:
        with urllib.request.urlopen(asked, timeout=DEADLINE) as answer:
            return Told(answer.status, dict(answer.headers), json.loads(answer.read()), answer.url)
    except urllib.error.HTTPError as error:
        with error:
            return Told(error.code, dict(error.headers), json.loads(error.read()), error.url)
