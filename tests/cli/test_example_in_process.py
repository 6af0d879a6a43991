"""The example shop in process does what its page says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire.harness import request, until

ROOT = Path(__file__).parents[2].resolve()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    command = [sys.executable, "-m", "orchestrator.cli.main", "dev", "--app", "shop.functions", "--no-reload"]
    command += ["--port", "0", "--json", "--no-discovery"]
    env = {name: text for name, text in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "INNGEST_"))}
    with subprocess.Popen(
        command,
        cwd=ROOT / "examples" / "shop_celery",
        env=env | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield next(json.loads(line)["url"] for line in process.stdout if '"server ready"' in line)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("event", "data", "steps", "output"),
    [
        (
            "shop/product.imported",
            {"imageURLs": ["https://shop.example/mug.png"]},
            ["copy-images-to-s3", "resize-images"],
            ["https://images.shop.example/mug.png?width=400"],
        ),
        ("shop/report.asked", {}, ["sales", "stock"], {"sales": 5, "stock": 5}),
    ],
)
def test_each_event_of_the_shop_does_its_work(
    server: str, event: str, data: dict[str, Any], steps: list[str], output: object
) -> None:
    status, answer = request("POST", f"{server}/e/dev", {"name": event, "data": data})
    assert 200 == status

    def ended() -> dict[str, Any] | None:
        runs = request("GET", f"{server}/v1/events/{answer['ids'][0]}/runs")[1]["data"]
        found = request("GET", f"{server}/v1/runs/{runs[0]['run_id']}")[1]["data"] if runs else None
        return found if found and found["status"] != "Running" else None

    run = until(ended, "the end of the run")

    assert ("Completed", output) == (run["status"], run["output"])
    assert steps == sorted(step["name"] for step in run["steps"])
