"""A development server in a process of its own, to be killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.process import DevProcess


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevProcess]:
    process = DevProcess(tmp_path / "state")
    yield process
    process.stop()
