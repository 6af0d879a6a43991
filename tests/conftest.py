"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

#: See `tests.wire.brokers`.
BROKERS = ("rabbitmq", "quorum", "redis", "rediss", "sqs", "sqs-given", "none")

# How long one example takes says more about the machine than about the code.
settings.register_profile("orchestrator", deadline=None)
settings.load_profile("orchestrator")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the tests over the wire find their server."""
    choices = ("embedded", *(f"pg-{name}" for name in BROKERS), "maria-rabbitmq")
    parser.addoption("--on", choices=choices, default="embedded", help="what serves the tests over the wire")
