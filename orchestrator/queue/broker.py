"""The broker: names of queues and tasks, and options that are right for hints whatever the transport.

A message is a hint: it may be lost, doubled or late.  So nothing here relies on acknowledgements, visibility timeouts
or redelivery; messages are small, transient, and acknowledged early.
"""

from __future__ import annotations

from typing import Any

import kombu

#: Queues, and the tasks that are sent to them.
RUNNER_QUEUE = "orchestrator.runner"
EXECUTOR_QUEUE = "orchestrator.executor"
RUNNER_TASK = "orchestrator.runner"
EXECUTOR_TASK = "orchestrator.executor"
#: Tasks are known by name only; this module is imported by workers, never by who announces.
TASKS_MODULE = "orchestrator.workers.own"


def app_queue(app: str) -> str:
    """The queue of the processes that hold an app's functions."""
    return f"orchestrator.app.{app}"


def transport_options(url: str) -> dict[str, Any]:
    """The options of the transport a broker URL names."""
    transport = url.partition("://")[0].partition("+")[0]
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
    if transport in ("amqp", "amqps", "pyamqp"):
        return {"confirm_publish": False, "read_timeout": 10, "write_timeout": 5, "login_method": "PLAIN"}
    if transport == "sqs":
        return {"visibility_timeout": 3600, "wait_time_seconds": 10, "polling_interval": 0}
    return {}


def celery_settings(url: str | None) -> dict[str, Any]:
    """The settings of our Celery application."""
    return {
        "broker_url": url or "memory://",
        "broker_transport_options": transport_options(url or "memory://"),
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": 2,
        "broker_connection_max_retries": None,
        "broker_pool_limit": 5,
        "broker_heartbeat": 30,
        "imports": (TASKS_MODULE,),
        "task_routes": {RUNNER_TASK: {"queue": RUNNER_QUEUE}, EXECUTOR_TASK: {"queue": EXECUTOR_QUEUE}},
        "task_queues": (queue(RUNNER_QUEUE), queue(EXECUTOR_QUEUE)),
        "task_default_queue": RUNNER_QUEUE,
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
        "worker_detect_quorum_queues": False,
        # A mailbox that only its connection may use stands in the way of the next worker of the same name for as long
        # as the broker has not noticed that the first was killed.  Durable, as brokers give up on the other kinds; it
        # goes ten seconds after its last user.
        "control_queue_exclusive": False,
        "control_queue_durable": True,
        "enable_utc": True,
        "timezone": "UTC",
    }


def queue(name: str) -> kombu.Queue:
    """One of our queues, as announcers and workers both declare it."""
    return kombu.Queue(name, kombu.Exchange(name, type="direct"), routing_key=name)
