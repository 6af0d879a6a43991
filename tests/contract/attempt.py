"""One run of schemathesis."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.contract.config import config
from tests.contract.server import SIGNING_KEY, Server

#: Of one request: longer is a hang.
PATIENCE = 30


@dataclass(frozen=True)
class Tried:
    """How it ended, and what it said."""

    code: int
    said: str


def attempt(server: Server, ids: Mapping[str, str], folder: Path, *, examples: int, seed: int | None = None) -> Tried:
    """Try each operation with so many requests beside those that the document's bounds suggest, with all checks."""
    (folder / "schemathesis.toml").write_text(config(ids))
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {SIGNING_KEY}"),
        *("--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)),
        *("--request-timeout", str(PATIENCE), "--warnings", "off", "--continue-on-failure"),
        *(("--seed", str(seed)) if seed is not None else ()),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return Tried(done.returncode, done.stdout + done.stderr)
