"""The load generator: sends events over keep-alive connections, and prints what became of each request, as JSON.

Bare sockets, because its CPU time is taken from the same cores that it measures.
`python -m tests.bench.client PORT PATH CONNECTIONS count FIRST COUNT PREFIX EVENT DATA RATE`: one event a run, `run` in
its data, so many a second (0: as fast as they go).
`python -m tests.bench.client PORT PATH CONNECTIONS seconds SECONDS BODY`: the same body again and again.
"""

from __future__ import annotations

import json
import resource
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

#: A server that was killed is asked again after this, for so long.
PAUSE, PATIENCE = 0.05, 45.0


@dataclass
class Sent:
    """What was sent: run -> moment (ns), those acknowledged, the seconds each request took, refusals, CPU seconds."""

    at: dict[str, int] = field(default_factory=dict)
    acknowledged: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    errors: int = 0
    cpu: float = 0.0


class Connection:
    """One keep-alive connection, made anew after a failure."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        self._socket: socket.socket | None = None

    def open(self) -> socket.socket:
        """Connect unless that is done; raises `OSError` when nobody listens."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=30)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def post(self, body: bytes) -> int:
        """Send a body, return the status; raises `OSError` when there is no answer."""
        connection = self.open()
        try:
            connection.sendall(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
            return self._answer(connection)
        except OSError:
            connection.close()
            self._socket = None
            raise

    @staticmethod
    def _answer(connection: socket.socket) -> int:
        got = b""
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += _more(connection)
        head = got[:end].lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        while len(got) < end + 4 + length:
            got += _more(connection)
        return int(head[9:12])


def _more(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise ConnectionError("closed without an answer")
    return chunk


def send_runs(
    port: int, path: str, connections: int, runs: list[str], event: str, data: dict[str, object], rate: float = 0
) -> Sent:
    """Send one event a run, `rate` a second unless it is 0."""
    sent = Sent()
    begun, left = time.monotonic(), deque(enumerate(runs))

    def work() -> None:
        connection = Connection(port, path)
        while left:
            try:
                number, run = left.popleft()
            except IndexError:
                return
            if rate:
                time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            body = json.dumps({"name": event, "data": data | {"run": run}}).encode()
            _await_listener(connection)
            began = sent.at[run] = time.monotonic_ns()
            if _accepted(connection, body, sent):
                sent.acknowledged.append(run)
                sent.took.append((time.monotonic_ns() - began) / 1e9)

    _in_threads(connections, work)
    return sent


def _await_listener(connection: Connection) -> None:
    """Wait out a server that is down; an event is never sent twice, because the first may have been taken."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            connection.open()
        except OSError:
            time.sleep(PAUSE)
        else:
            return


def send_for(port: int, path: str, connections: int, seconds: float, body: bytes) -> Sent:
    """Send one body for a time."""
    sent = Sent()
    end = time.monotonic() + seconds

    def work() -> None:
        connection = Connection(port, path)
        while (began := time.monotonic()) < end:
            if _accepted(connection, body, sent):
                sent.took.append(time.monotonic() - began)

    _in_threads(connections, work)
    return sent


def _accepted(connection: Connection, body: bytes, sent: Sent) -> bool:
    try:
        accepted = connection.post(body) == 200
    except OSError:
        accepted = False
        time.sleep(PAUSE)
    sent.errors += not accepted
    return accepted


def _in_threads(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Do as the arguments say."""
    begun = _cpu()
    port, path, connections, how = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    if how == "count":
        first, count, prefix, event, data, rate = sys.argv[5:11]
        runs = [f"{prefix}{int(first) + number}" for number in range(int(count))]
        sent = send_runs(port, path, connections, runs, event, json.loads(data), float(rate))
    else:
        sent = send_for(port, path, connections, float(sys.argv[5]), sys.argv[6].encode())
    sent.cpu = _cpu() - begun
    json.dump(asdict(sent), sys.stdout)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
