"""The broker: names of queues and tasks, and options that are right for hints whatever the transport.

A message is a hint: it may be lost, doubled or late.  So nothing here relies on acknowledgements, visibility timeouts
or redelivery; messages are small, transient, acknowledged early, and never delayed by the broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import kombu

from orchestrator.config import Config

#: Queues, and the tasks that are sent to them.
RUNNER_QUEUE = "orchestrator.runner"
EXECUTOR_QUEUE = "orchestrator.executor"
RUNNER_TASK = "orchestrator.runner"
EXECUTOR_TASK = "orchestrator.executor"
#: Tasks are known by name only; this module is imported by workers, never by who announces.
TASKS_MODULE = "orchestrator.workers.own"
#: Celery's, less what we need not.
CONSUMER = "orchestrator.workers.consumer:Consumer"

#: RabbitMQ refuses a queue that is declared as another type than it has. Under a name of its own it can be there beside
#: the others, while processes of both settings run.
_QUORUM = ".quorum"
_SQS = "orchestrator.queue.sqs:Transport"
_AMQP = ("amqp", "amqps", "pyamqp")


def app_queue(app: str) -> str:
    """The queue of the processes that hold an app's functions."""
    return f"orchestrator.app.{app}"


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker: its URL, options that come before ours, and the type of queues where it has several."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    queue_type: str = "classic"

    @property
    def transport(self) -> str:
        """What the URL begins with."""
        return self.url.partition("://")[0].partition("+")[0]

    @property
    def kombu_transport(self) -> str | None:
        """The transport in Kombu's words, where it is not the one of the URL."""
        return _SQS if self.transport == "sqs" else None

    def connection(self, timeout: float) -> kombu.Connection:
        """A connection that is not made yet."""
        return kombu.Connection(
            self.url,
            connect_timeout=timeout,
            transport=self.kombu_transport,
            transport_options=self.transport_options,
        )

    @property
    def transport_options(self) -> dict[str, Any]:
        """What Kombu's transport is told."""
        return _options(self.transport) | dict(self.options)

    def queue(self, name: str) -> kombu.Queue:
        """One of our queues, as announcers and workers both declare it."""
        return kombu.Queue(
            own := self.queue_name(name),
            kombu.Exchange(own, type="direct"),
            routing_key=own,
            queue_arguments={"x-queue-type": "quorum"} if self.is_quorum else None,
        )

    def queue_name(self, name: str) -> str:
        """What one of our queues is called at this broker."""
        return name + _QUORUM if self.is_quorum else name

    @property
    def is_quorum(self) -> bool:
        """Whether our queues are RabbitMQ's quorum queues."""
        return self.queue_type == "quorum" and self.transport in _AMQP


#: What Celery is told where there is none.
NOWHERE = Broker("memory://")


def of(config: Config) -> Broker | None:
    """The broker of a configuration, if there is one."""
    if not config.broker_url:
        return None
    return Broker(config.broker_url, config.broker_options or {}, config.broker_queue_type)


def _options(transport: str) -> dict[str, Any]:
    if transport in ("redis", "rediss", "sentinel"):
        # Restoring unacknowledged messages is no business of ours; long, so that it does not run for nothing.
        return {
            "visibility_timeout": 3600,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 15,
            "max_connections": 20,
        }
    if transport in _AMQP:
        return {"confirm_publish": False, "read_timeout": 10, "write_timeout": 5, "login_method": "PLAIN"}
    if transport == "sqs":
        # A poll that waits costs no CPU, and as few requests, which are paid for, as can be.
        return {
            "visibility_timeout": 3600,
            "wait_time_seconds": 10,
            "polling_interval": 0,
            "client-config": {"connect_timeout": 2, "read_timeout": 15, "retries": {"total_max_attempts": 2}},
        }
    return {}


def celery_settings(broker: Broker | None) -> dict[str, Any]:
    """The settings of our Celery application."""
    told = broker or NOWHERE
    runner, executor = told.queue(RUNNER_QUEUE), told.queue(EXECUTOR_QUEUE)
    return {
        "broker_url": told.url,
        "broker_transport": told.kombu_transport,
        "broker_transport_options": told.transport_options,
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": 2,
        "broker_connection_max_retries": None,
        "broker_pool_limit": 5,
        "broker_heartbeat": 30,
        "imports": (TASKS_MODULE,),
        "task_routes": {RUNNER_TASK: {"queue": runner.name}, EXECUTOR_TASK: {"queue": executor.name}},
        "task_queues": (runner, executor),
        "task_default_queue": runner.name,
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_enable_soft_shutdown_on_idle": False,
        # A quorum queue refuses the prefetch that Celery sets for all consumers of a channel together.
        "worker_detect_quorum_queues": told.is_quorum,
        "worker_consumer": CONSUMER,
        # A mailbox that only its connection may use stands in the way of the next worker of the same name for as long
        # as the broker has not noticed that the first was killed.  Durable, as brokers give up on the other kinds; it
        # goes ten seconds after its last user.
        "control_queue_exclusive": False,
        "control_queue_durable": True,
        "enable_utc": True,
        "timezone": "UTC",
    }
