"""Spans of users' code are taken from the exporter that the official TypeScript SDK uses."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.wire.harness import Server
from tests.wire_js.harness import HERE

# The first test may have to wait for the SDK to be installed.
pytestmark = pytest.mark.timeout(300)


def test_the_exporter_of_the_sdk_gets_rid_of_its_spans(node: None, server: Server):
    key = [server.keys.signing] if server.keys else []
    done = subprocess.run(
        ["node", "spans.js", server.url, *key], cwd=HERE, capture_output=True, text=True, timeout=60, check=False
    )

    assert [{"code": 0}] == json.loads(done.stdout), done.stderr
