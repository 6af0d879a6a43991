"""A container engine, where there is one, and the image that is built by it."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.crash.process import ROOT

FOLDER = ROOT / "docker"
#: Variables that name images which the engine has or can fetch.
PYTHON, POSTGRESQL, RABBITMQ = "TEST_PYTHON_IMAGE", "TEST_POSTGRES_IMAGE", "TEST_RABBITMQ_IMAGE"
#: What the image is called here.
TAG = "orchestrator:test"
BUILD_LIMIT, RUN_LIMIT = 1200, 300


def require_engine(*images: str) -> list[str]:
    """The command of an engine that can build and run here; skips, with the reason, where there is none."""
    name = next((name for name in ("docker", "podman") if shutil.which(name) and works(name, "info")), None)
    if name is None:
        pytest.skip("no container engine runs here (docker or podman); this may be so in CI, too")
    missing = [image for image in images if not os.environ.get(image)]
    if missing:
        pytest.skip(
            f"set {' and '.join(missing)} to images that {name} has or can fetch, such as python:3.13-slim; without a "
            "registry make some by tests/deploy/standins/make; this may be so in CI, too"
        )
    return [name]


def works(*command: str) -> bool:
    """Whether a command ends well."""
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


@cache
def build(engine: str) -> str:
    """Build the image, once in each process; returns its name."""
    more = ["--isolation=chroot"] if engine == "podman" else []
    base = ["--build-arg", f"PYTHON_IMAGE={os.environ[PYTHON]}"]
    built = run(
        [engine, "build", *more, "--network=host", *base, "-f", str(FOLDER / "Dockerfile"), "-t", TAG, str(ROOT)],
        BUILD_LIMIT,
    )
    assert 0 == built.returncode, built.stdout[-1500:] + built.stderr[-3000:]
    return TAG


def run(command: list[str], limit: float = RUN_LIMIT) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout, for so many seconds at most."""
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit, check=False, cwd=Path(ROOT)
    )
