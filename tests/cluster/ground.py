"""A database and brokers of the tests' own: these may be killed, restarted and emptied without harm to anybody."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import OperationalError

from tests.crash.process import free_port
from tests.wire.harness import until

#: Where distributions keep what they do not put on the path.
_ELSEWHERE = {
    "initdb": "/usr/lib/postgresql/*/bin/initdb",
    "postgres": "/usr/lib/postgresql/*/bin/postgres",
    # The script on Debian's path gives root's rights up, and with them the folder of the test.
    "rabbitmq-server": "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "redis-server": "/usr/bin/redis-server",
    "openssl": "/usr/bin/openssl",
}


def find(program: str) -> str:
    """The path of a program; without it the test is skipped, or fails where CI=true."""
    found = [*sorted(glob(_ELSEWHERE[program]), reverse=True), shutil.which(program)]
    if found[0] is not None:
        return found[0]
    reason = f"{program} is needed, to have one that may be killed; install it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


class Listening:
    """A program that is ready when its port answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        assert self.process is None, "started twice"
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                self.command(), env=os.environ | self.environment(), cwd=self.folder, stdout=said, stderr=said,
                start_new_session=True, user=self.user(),
            )  # fmt: skip

    def start(self) -> None:
        self.begin()
        self.wait()

    def wait(self) -> None:
        until(self._answers, f"port {self.port} of {self.command()[0]}", self._said, deadline=60)

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def user(self) -> str | None:
        return None

    def _said(self) -> str:
        return (self.folder / "said").read_text()[-3000:]

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._said()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
        except OSError:
            return False
        return True


class Broker(Listening):
    """A broker of one's own."""

    def url(self, port: int) -> str:
        """The broker, by way of a port."""
        raise NotImplementedError


class Redis(Broker):
    """A Redis that keeps nothing: to kill it is to empty it."""

    def url(self, port: int) -> str:
        return f"redis://127.0.0.1:{port}/0"

    def command(self) -> list[str]:
        flags = ["--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "", "--appendonly", "no"]
        return [find("redis-server"), "--port", str(self.port), *flags]


class SecretRedis(Redis):
    """The same by TLS only, with a password and a certificate that nobody else has signed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        made = shlex.split("req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem")
        subprocess.run([find("openssl"), *made, *names], cwd=folder, check=True, capture_output=True)

    def url(self, port: int) -> str:
        return f"rediss://:secret@127.0.0.1:{port}/0?ssl_cert_reqs=required&ssl_ca_certs={self.folder}/cert.pem"

    def command(self) -> list[str]:
        plain = [word if word != "--port" else "--tls-port" for word in super().command()]
        files = ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "cert.pem"]
        return [*plain, "--port", "0", *files, "--tls-auth-clients", "no", "--requirepass", "secret"]


class SQS(Broker):
    """A stand-in for Amazon's SQS, which keeps nothing."""

    def url(self, port: int) -> str:
        return f"sqs://key:secret@127.0.0.1:{port}"

    def reset(self) -> None:
        """Delete everything, also the queues."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}/moto-api/reset", method="POST")
        urllib.request.urlopen(asked, timeout=5).close()

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]


class RabbitMQ(Broker):
    """A RabbitMQ node of one's own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._talk_port = free_port()

    def url(self, port: int) -> str:
        return f"amqp://guest:guest@127.0.0.1:{port}//"

    def command(self) -> list[str]:
        return [find("rabbitmq-server")]

    def environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "HOME": folder,
            "RABBITMQ_NODENAME": f"chaos{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._talk_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_CONFIG_FILE": f"{folder}/none",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-setcookie chaos",
        }


class PostgreSQL(Listening):
    """A cluster of one's own.  It flushes nothing, as what is killed is its processes and never the machine."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if self.user() is not None:
            shutil.chown(folder, self.user())
        initdb = [
            find("initdb"),
            "-D",
            f"{folder}/data",
            "-A",
            "trust",
            "-U",
            "chaos",
            "-N",
            "--locale=C",
            "-E",
            "UTF8",
        ]
        subprocess.run(initdb, check=True, capture_output=True, user=self.user(), cwd=folder)

    def command(self) -> list[str]:
        settings = ["fsync=off", "max_connections=200", "listen_addresses=127.0.0.1", "unix_socket_directories="]
        return [
            find("postgres"), "-D", f"{self.folder}/data", "-p", str(self.port),
            *(word for setting in settings for word in ("-c", setting)),
        ]  # fmt: skip

    def kill(self) -> None:
        """End it as a crash does, without a checkpoint.

        A -9 of the postmaster would leave its children, each in a session of its own, in the way of the next.
        """
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
            self.process = None

    def _answers(self) -> bool:
        """A port that listens is not enough: at first it refuses everybody."""
        if not super()._answers():
            return False
        engine = create_engine(self.url(self.port), poolclass=NullPool)
        try:
            engine.connect().close()
        except OperationalError:
            return False
        return True

    def user(self) -> str | None:
        """It refuses to be run by root."""
        return "postgres" if os.geteuid() == 0 else None

    def url(self, port: int) -> str:
        """Its one database, by way of a port."""
        return f"postgresql+psycopg://chaos@127.0.0.1:{port}/postgres"


@contextmanager
def own_postgresql() -> Iterator[PostgreSQL]:
    """One that runs, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="outage-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        folder = Path(name, "postgresql")
        folder.mkdir()
        made = PostgreSQL(folder)
        try:
            made.start()
            yield made
        finally:
            made.kill()


BROKERS: dict[str, type[Broker]] = {"rabbitmq": RabbitMQ, "redis": Redis, "sqs": SQS}


@contextmanager
def ground(broker: str) -> Iterator[tuple[PostgreSQL, Broker]]:
    """A database and a broker that run, in folders that are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        folders = [Path(name, "postgresql"), Path(name, broker)]
        for folder in folders:
            folder.mkdir()
        database, queue = PostgreSQL(folders[0]), BROKERS[broker](folders[1])
        try:
            database.begin()
            queue.begin()
            database.wait()
            queue.wait()
            yield database, queue
        finally:
            queue.kill()
            database.kill()
