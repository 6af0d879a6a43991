"""The brokers that the same tests run with, by name: what a process's environment says of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.ground import SQS, Listening, SecretRedis
from tests.services import require

URL, OPTIONS, QUEUE_TYPE = "ORCHESTRATOR_BROKER_URL", "ORCHESTRATOR_BROKER_OPTIONS", "ORCHESTRATOR_BROKER_QUEUE_TYPE"
#: Which of a Redis's databases is ours.
_REDIS_DATABASE = 9


@contextmanager
def broker(name: str, folder: Path) -> Iterator[Mapping[str, str]]:
    """The variables that name a broker, which is there."""
    if name == "none":
        yield {}
    elif name == "redis":
        yield {URL: f"{require('redis').rpartition('/')[0]}/{_REDIS_DATABASE}"}
    elif name in ("rabbitmq", "quorum"):
        yield {URL: require("rabbitmq")} | ({QUEUE_TYPE: "quorum"} if name == "quorum" else {})
    else:
        yield from _own(name, folder)


def _own(name: str, folder: Path) -> Iterator[Mapping[str, str]]:
    place = folder / "broker"
    place.mkdir()
    made: SecretRedis | SQS = SecretRedis(place) if name == "rediss" else SQS(place)
    with _running(made):
        yield {URL: made.url(made.port)} | ({OPTIONS: _given_queues(made.port)} if name == "sqs-given" else {})


@contextmanager
def _running(made: Listening) -> Iterator[None]:
    try:
        made.start()
        yield
    finally:
        made.kill()


def _given_queues(port: int) -> str:
    """Two queues that somebody else has made, as for those who may not make any."""
    import boto3  # which takes half a second

    client = boto3.client(
        "sqs",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="eu-north-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    made = {
        f"orchestrator-{name}": client.create_queue(QueueName=f"theirs-{name}")["QueueUrl"]
        for name in ("runner", "executor")
    }
    return json.dumps({"region": "eu-north-1", "predefined_queues": {name: {"url": url} for name, url in made.items()}})
