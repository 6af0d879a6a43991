"""Each line of the Procfile, started as platforms do: by their variables, on TLS to a Redis that signs its own key."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.crash.process import ROOT, free_port
from tests.services import own_database

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]

PATIENCE = 60.0
LINES = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
EVENT_KEY = "a7" * 16


@pytest.fixture(scope="module")
def rediss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis that speaks TLS only, with a certificate that nobody has signed."""
    for needed in ("redis-server", "openssl"):
        if shutil.which(needed) is None:
            reason = f"{needed} is needed and is not installed"
            pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=redis.invalid"
    subprocess.run(shlex.split(make), cwd=folder, check=True, capture_output=True, timeout=PATIENCE)
    options = f"--port 0 --tls-port {port} --tls-cert-file cert.pem --tls-key-file key.pem --tls-ca-cert-file cert.pem"
    command = ["redis-server", *options.split(), "--tls-auth-clients", "no", "--save", "", "--requirepass", "secret"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        yield f"rediss://:secret@127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(PATIENCE)


@dataclass
class Platform:
    """Runs lines of the Procfile under one environment."""

    folder: Path
    env: dict[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            shlex.split(line), cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                shlex.split(LINES[name]), cwd=ROOT, env=self.env, stdout=log, stderr=log, start_new_session=True
            )

    def end(self, name: str) -> float:
        """Send TERM; returns the seconds until it ended well."""
        began = time.monotonic()
        process = self.running.pop(name)
        process.terminate()
        try:
            assert 0 == process.wait(PATIENCE), self.said(name)
        finally:
            kill(process)
        return time.monotonic() - began

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def ask(self, path: str, body: object = None) -> tuple[int, Any]:
        key = {"Authorization": f"Bearer {self.env['ORCHESTRATOR_SIGNING_KEY']}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{self.env['PORT']}{path}", data, key)
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, None

    def until(self, what: str, look: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not look():
            assert time.monotonic() < deadline, f"{what}\n" + "\n".join(map(self.said, self.running))
            time.sleep(0.1)


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


@pytest.fixture
def platform(rediss: str, tmp_path: Path) -> Iterator[Platform]:
    with own_database("postgresql") as url:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "INNGEST_"))}
        env = kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": url.replace("postgresql+psycopg://", "postgres://"),
            "REDIS_URL": rediss,
            "PORT": str(free_port()),
            "WEB_CONCURRENCY": "3",
            "ORCHESTRATOR_SIGNING_KEY": "5e" * 32,
            "ORCHESTRATOR_EVENT_KEYS": EVENT_KEY,
            "ORCHESTRATOR_ALLOWED_NETWORKS": "127.0.0.0/8",
        }
        made = Platform(tmp_path, env)
        try:
            yield made
        finally:
            for process in made.running.values():
                kill(process)


def test_the_procfile_has_a_line_for_each_kind_of_process() -> None:
    assert {"release", "web", "worker"} == set(LINES)


def test_each_line_works_with_a_platforms_variables_alone_and_ends_in_time(platform: Platform) -> None:
    # The release makes the tables, and may be run again.
    for _ in range(2):
        released = platform.run(LINES["release"])
        assert 0 == released.returncode, released.stderr

    # The web listens at PORT, with as many processes as WEB_CONCURRENCY says, and takes events.
    platform.start("web")
    platform.until("no web is ready", lambda: platform.ask("/ready")[0] == 200)
    web = platform.running["web"].pid
    children = Path(f"/proc/{web}/task/{web}/children").read_text().split()
    assert 3 == len(children)

    # The worker comes, is seen, and nobody minds the certificate.
    assert 8 == platform.run("orchestrator doctor --worker").returncode
    platform.start("worker")
    platform.until("no worker is ready", lambda: "worker ready" in platform.said("worker"))
    assert 0 == platform.run("orchestrator doctor --worker").returncode
    register(platform)
    assert 200 == platform.ask(f"/e/{EVENT_KEY}", {"name": "shop/sold"})[0]
    platform.until("no web has used the broker", lambda: platform.ask("/ready")[1]["broker"] == "connected")
    found = platform.run("orchestrator doctor --json")
    assert 0 == found.returncode, found.stdout
    verdicts = {it["check"]: it["verdict"] for it in json.loads(found.stdout)["checks"]}
    assert ("ok", "ok", "ok", "warn") == tuple(
        verdicts[check] for check in ("database", "workers", "broker", "broker certificate")
    )
    assert "secret" not in found.stdout

    # Both end within ten seconds of TERM, and the worker is not seen any more.
    assert max(platform.end("worker"), platform.end("web")) < 10
    assert 8 == platform.run("orchestrator doctor --worker").returncode
    assert "broker is away" not in platform.said("web") + platform.said("worker")


def register(platform: Platform) -> None:
    url = "http://127.0.0.1:1/api/inngest"
    step = {"id": "step", "name": "step", "runtime": {"type": "http", "url": f"{url}?fnId=shop-f&stepId=step"}}
    function = {"id": "shop-f", "name": "f", "triggers": [{"event": "shop/sold"}], "steps": {"step": step}}
    body = {"url": url, "appName": "shop", "sdk": "py:v1", "functions": [function]}
    assert 200 == platform.ask("/fn/register", body)[0]
