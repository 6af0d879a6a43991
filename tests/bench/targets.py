"""The ways to run the server that are measured, as plain data.

In commands and variables `{python}`, `{bin}`, `{port}`, `{state}`, `{database}` and `{broker}` stand for what they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.bench.app import EVENT_KEY


@dataclass(frozen=True, slots=True)
class Target:
    """One way: what is run before, the processes, what they and the app are told, and the services.

    `services` are names of `tests.services`, the database first; `service_processes` is what they are called in /proc.
    `durable` is added to the first command where a workload kills the server.
    """

    name: str
    commands: tuple[str, ...]
    before: tuple[str, ...] = ()
    durable: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    app_env: Mapping[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    service_processes: frozenset[str] = frozenset()
    #: The functions are in the target's own processes.
    in_process: bool = False
    #: Its chain of steps is so many times longer: in process 100 take less time than the ticks can tell.
    longer: int = 1
    #: It takes events over HTTP; else `sender` is what sends it work.
    web: bool = True
    sender: str = ""
    #: What it can do; empty: everything.
    workloads: tuple[str, ...] = ()

    def can(self, workload: str) -> bool:
        """Whether a workload can be measured on it."""
        return not self.workloads or workload in self.workloads


_DEV = "{python} -m orchestrator.cli.main dev --port {port} --no-discovery --no-poll --log-level warning"
_WEB = "{bin}/gunicorn -c python:orchestrator.api.gunicorn_conf -b 127.0.0.1:{port} orchestrator.api.wsgi:app"
_QUIET = " --without-gossip --without-mingle --without-heartbeat --loglevel warning -n "
_WORKER = "{bin}/celery -A orchestrator worker" + _QUIET
#: W6 knows no functions, and is the same with and without them.
_IN_PROCESS = ("W1", "W2a", "W2b", "W3", "W4", "W5", "W7")
#: The app of the functions in process, and the queue of plain Celery.
APP, PLAIN_QUEUE = "bench", "bench.plain"
#: Made up for one measurement.
SIGNING_KEY = "signkey-prod-" + "5e" * 32
_SERVED_ENV = {
    "ORCHESTRATOR_DATABASE_URL": "{database}",
    "ORCHESTRATOR_BROKER_URL": "{broker}",
    "ORCHESTRATOR_SIGNING_KEY": SIGNING_KEY,
    "ORCHESTRATOR_EVENT_KEYS": EVENT_KEY,
    "ORCHESTRATOR_ALLOWED_NETWORKS": "127.0.0.0/8",
    "ORCHESTRATOR_LOG_LEVEL": "warning",
    "WEB_CONCURRENCY": "1",
}


def _served(name: str, broker: str, broker_process: str) -> Target:
    """Gunicorn and two workers on PostgreSQL and a broker, with all keys."""
    return Target(
        name,
        commands=(_WEB, _WORKER + "bench1@%h", _WORKER + "bench2@%h"),
        before=("{python} -m orchestrator.cli.main db upgrade",),
        env=_SERVED_ENV,
        app_env={"INNGEST_SIGNING_KEY": SIGNING_KEY},
        services=("postgresql", broker),
        service_processes=frozenset({"postgres", broker_process}),
    )


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("embedded", commands=(_DEV,), durable=" --persist --state-dir {state}"),
        _served("pg-rabbitmq", "rabbitmq", "beam.smp"),
        _served("pg-redis", "redis", "redis-server"),
        Target(
            "local-sqlite",
            commands=(f"{_DEV} --app tests.bench.inprocess",),
            durable=" --persist --state-dir {state}",
            env={"BENCH_RECORDS": "{records}"},
            in_process=True,
            longer=10,
            workloads=_IN_PROCESS,
        ),
        Target(
            "local-pg",
            commands=(_WEB, "{bin}/celery -A tests.bench.inprocess worker -P threads" + _QUIET + "bench@%h"),
            before=("{python} -m orchestrator.cli.main db upgrade",),
            env=_SERVED_ENV | {"BENCH_RECORDS": "{records}", "BENCH_BROKER": "{broker}"},
            services=("postgresql", "rabbitmq"),
            service_processes=frozenset({"postgres", "beam.smp"}),
            in_process=True,
            longer=10,
            workloads=_IN_PROCESS,
        ),
        Target(
            "celery",
            commands=("{bin}/celery -A tests.bench.plain_celery worker -c 2" + _QUIET + "plain@%h",),
            env={"BENCH_RECORDS": "{records}", "BENCH_BROKER": "{broker}", "BENCH_BACKEND": "{database}"},
            services=("redis", "rabbitmq"),
            service_processes=frozenset({"redis-server", "beam.smp"}),
            in_process=True,
            web=False,
            sender="{python} -m tests.bench.plain_celery",
            workloads=("W1", "W2a", "W2b", "W3"),
        ),
    )
}
