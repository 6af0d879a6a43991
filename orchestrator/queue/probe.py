"""Whether a broker does what we need of it: a message sent to a queue of our own, and taken from it again.

Or only looked at: what it is, and how many hints wait there.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from queue import Empty
from typing import Any

import kombu

from orchestrator.errors import OrchestratorError
from orchestrator.queue.broker import EXECUTOR_QUEUE, RUNNER_QUEUE, Broker

#: Seconds until the message must be back.
PATIENCE = 10.0
#: A queue that nobody could delete, RabbitMQ deletes after this many seconds.
_EXPIRES = 60


class LostMessageError(OrchestratorError):
    """A message sent to the broker did not come back."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What a broker calls itself, and the hints that wait by queue; None: nobody has made the queue yet."""

    product: str
    queues: Mapping[str, int | None]


def look(told: Broker) -> Probed:
    """Look at a broker without changing anything of it.  Raises what the transport raises."""
    with told.connection(2) as connection:
        # Kombu would sleep two seconds before its second try.
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        names = [told.queue_name(name) for name in (RUNNER_QUEUE, EXECUTOR_QUEUE)]
        return Probed(_version(connection, connection.channel()), {name: _depth(connection, name) for name in names})


def round_trip(told: Broker, patience: float = PATIENCE) -> str:
    """Send a message and take it back; returns the broker's kind and version, and what was seen.

    Where queues are made by others, only those that hints go by are looked at.

    Raises what the transport raises, or `LostMessageError`.
    """
    with told.connection(3) as connection:
        connection.connect()
        channel = connection.channel()
        if "predefined_queues" in told.options:
            return f"{_version(connection, channel)}: {_waiting(told, channel)} messages wait in the queues given"
        name = f"orchestrator.doctor.{uuid.uuid4().hex}"
        queue = kombu.Queue(name, kombu.Exchange("", type="direct"), routing_key=name, durable=False, expires=_EXPIRES)
        bound = queue(channel)
        bound.declare()
        try:
            kombu.Producer(channel).publish({"from": "doctor"}, exchange="", routing_key=name, delivery_mode=1)
            _take(bound, patience)
        finally:
            bound.delete()
        return f"{_version(connection, channel)}: a message went and came back"


def _waiting(told: Broker, channel: Any) -> int:
    names = [told.queue_name(name) for name in (RUNNER_QUEUE, EXECUTOR_QUEUE)]
    return sum(int(channel.queue_declare(name).message_count) for name in names)


def _depth(connection: kombu.Connection, name: str) -> int | None:
    # In a channel of its own: asked for a queue that is not there, RabbitMQ closes it.
    channel: Any
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(name, passive=True).message_count)
        except connection.channel_errors:
            return None


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
