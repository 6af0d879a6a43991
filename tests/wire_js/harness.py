"""The official TypeScript SDK in a Node process of its own; what it tells of itself is read line by line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.wire.harness import Server, request, until

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Call:
    """One call that the app got."""

    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """What the app answered to a call."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Asked:
    """What the SDK asked of the server, and with what status it was answered."""

    method: str
    path: str
    status: int
    body: Any


@dataclass
class NodeApp:
    """A Node process that serves the functions of `functions.js`."""

    server: Server
    app_id: str
    #: The client's option of this name: None leaves it to the SDK.
    checkpointing: object = None
    url: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)

    def start(self, *, sync: bool = True) -> None:
        """Start the process, and register its functions."""
        self.told.clear()
        self._process = subprocess.Popen(
            ["node", "app.js"],
            cwd=HERE,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        port = until(lambda: next((it["port"] for it in self.told if "port" in it), None), "the app's port")
        self.url = f"http://127.0.0.1:{port}/api/inngest"
        if sync:
            status, answer = request("PUT", self.url, {})
            assert 200 == status, answer

    def stop(self) -> None:
        """End the process."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        self._reader.join(10)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def send(self, function: str, data: object = None, **fields: object) -> str:
        """Send the event that a function listens to; returns its id."""
        return self.server.send(f"{self.app_id}/{function}", data, **fields)

    def open(self, run_id: str) -> None:
        """Let the steps of a run go on that wait at its gate, now and later."""
        self._say(f"open {run_id}")

    def skip(self, span: timedelta) -> None:
        """Let time pass, here and on the server."""
        self._say(f"skip {_milliseconds(span)}")
        self.server.skip(span)

    def lose(self, count: int) -> None:
        """Let the SDK hear nothing of the answers to its next checkpoints; the server gets them all the same."""
        self._say(f"lose {count}")

    def checkpoints(self, run_id: str) -> list[Asked]:
        """The checkpoints that the SDK sent for a run."""
        return [it for it in self.asked() if it.path == f"/v1/checkpoint/{run_id}/async"]

    def asked(self) -> list[Asked]:
        """What the SDK asked of the server."""
        self._hear_all()
        return [Asked(**it["asked"]) for it in list(self.told) if "asked" in it]

    def ran(self, run_id: str) -> list[str]:
        """The step bodies that ran for a run, in their order."""
        self._hear_all()
        return [it["ran"] for it in list(self.told) if "ran" in it and it["run_id"] == run_id]

    def _hear_all(self) -> None:
        """Wait until the app has told what it did so far: what it tells goes its own way, and may be slower."""

        def looks() -> int:
            return sum("answer" in it and it["answer"]["method"] == "GET" for it in list(self.told))

        before = looks()
        request("GET", self.url)
        until(lambda: looks() > before, "what the app tells")

    def calls(self, run_id: str) -> list[Call]:
        """The calls the app got for a run."""
        self._hear_all()
        found = [it["call"] for it in list(self.told) if "call" in it and it["call"]["method"] == "POST"]
        return [
            Call({name: values[0] for name, values in parse_qs(urlsplit(it["url"]).query).items()}, it["headers"], body)
            for it in found
            if (body := it["body"])["ctx"]["run_id"] == run_id
        ]

    def answers(self, run_id: str) -> list[Answer]:
        """What the app answered to the calls for a run."""
        found = [it["answer"] for it in list(self.told) if "answer" in it and it.get("run_id") == run_id]
        return [Answer(it["status"], it["headers"], json.loads(it["body"])) for it in found]

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.told.append(json.loads(line))

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "INNGEST_"))}
        kept |= {"APP_ID": self.app_id, "CHECKPOINTING": json.dumps(self.checkpointing)}
        kept |= {"SKIPPED": str(_milliseconds(self.server.clock.skipped))}
        keys = self.server.keys
        if keys is None:
            return kept | {"INNGEST_DEV": self.server.url}
        return kept | {
            "INNGEST_BASE_URL": self.server.url,
            "INNGEST_SIGNING_KEY": keys.signing,
            "INNGEST_EVENT_KEY": keys.event,
        }


def _milliseconds(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)
