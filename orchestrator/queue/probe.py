"""Whether a broker does what we need of it: a message sent to a queue of our own, and taken from it again."""

from __future__ import annotations

import time
import uuid
from queue import Empty
from typing import Any

import kombu

from orchestrator.errors import OrchestratorError
from orchestrator.queue import broker

#: Seconds until the message must be back.
PATIENCE = 10.0
#: A queue that nobody could delete, RabbitMQ deletes after this many seconds.
_EXPIRES = 60


class LostMessageError(OrchestratorError):
    """A message sent to the broker did not come back."""


def round_trip(url: str, patience: float = PATIENCE) -> str:
    """Send a message and take it back; returns the broker's kind and version.

    Raises what the transport raises, or `LostMessageError`.
    """
    options = broker.transport_options(url)
    with kombu.Connection(url, connect_timeout=3, transport_options=options) as connection:
        connection.connect()
        channel = connection.channel()
        name = f"orchestrator.doctor.{uuid.uuid4().hex}"
        queue = kombu.Queue(name, kombu.Exchange("", type="direct"), routing_key=name, durable=False, expires=_EXPIRES)
        bound = queue(channel)
        bound.declare()
        try:
            kombu.Producer(channel).publish({"from": "doctor"}, exchange="", routing_key=name, delivery_mode=1)
            _take(bound, patience)
        finally:
            bound.delete()
        return _version(connection, channel)


def _take(queue: Any, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            if queue.get(no_ack=True) is not None:
                return
        except Empty:
            pass
        time.sleep(0.05)
    raise LostMessageError(f"what was sent did not come back within {patience:g} s")


def _version(connection: kombu.Connection, channel: Any) -> str:
    kind = str(connection.transport.driver_type)
    if kind == "amqp":
        properties = connection.connection.server_properties
        return f"{properties.get('product', 'AMQP')} {properties.get('version', '')}".strip()
    if kind == "redis":
        return f"Redis {channel.client.info('server').get('redis_version', '')}".strip()
    return kind
