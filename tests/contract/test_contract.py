"""The server keeps to the document it serves: no 5xx, no hang, no status and no shape that it does not tell of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.attempt import attempt
from tests.contract.server import furnish, serving

#: With what the document's bounds suggest, some two thousand requests; `make contract` makes more.
EXAMPLES = 2


@pytest.mark.timeout(400)
def test_every_route_keeps_to_the_document(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        tried = attempt(server, furnish(server), tmp_path, examples=EXAMPLES)

    assert 0 == tried.code, tried.said
    assert [] == [record for record in server.records() if record.get("level") == "error"]
