"""W6 and W6b: how fast events are taken in when nobody listens to them; by `wrk` where it is there."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.client import Sent
from tests.bench.figures import Row
from tests.bench.measure import Measurement
from tests.bench.sizes import Sizes
from tests.bench.stage import PATH, Stage

CONNECTIONS = 16
#: The server may still match what came in; this much of it belongs to the cost.
AFTERMATH = 1.0
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def w6(stage: Stage, sizes: Sizes) -> Row:
    """One event a request."""
    return _flood(stage, "W6", sizes.flood, 1)


def w6b(stage: Stage, sizes: Sizes) -> Row:
    """100 events a request."""
    return _flood(stage, "W6b", sizes.flood, 100)


def _flood(stage: Stage, name: str, seconds: float, batch: int) -> Row:
    event = {"name": "bench/nobody-listens", "data": {"order": 4711, "customer": "ada@shop.example"}}
    body = json.dumps(event if batch == 1 else [event] * batch).encode()
    stage.flood(0.3, body, CONNECTIONS)
    measured = Measurement(stage, name)
    began = time.monotonic()
    wrk = shutil.which("wrk")
    if wrk is not None:
        requests, errors, cpu, p50, p99 = _wrk(wrk, stage.port, seconds, body)
        sent, times = Sent(errors=errors, cpu=cpu), [p50] * 98 + [p99] * 2
    else:
        sent = stage.flood(seconds, body, CONNECTIONS)
        requests, times = len(sent.took), [took * 1000 for took in sent.took]
    took = time.monotonic() - began
    more = f"{CONNECTIONS} connections by {'wrk' if wrk else 'the own client'}; p50 and p99 of a request"
    broken = f"{sent.errors} requests refused" if sent.errors else ""
    return measured.row(
        sent, requests * batch, "event", times, seconds=took, settle=AFTERMATH, more=more, broken=broken
    )


def _wrk(wrk: str, port: int, seconds: float, body: bytes) -> tuple[int, int, float, float, float]:
    """Requests answered, refused, CPU seconds of the generator, and p50 and p99 in milliseconds."""
    with TemporaryDirectory() as folder:
        script = Path(folder, "post.lua")
        script.write_text(
            'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
            f"wrk.body = [==[{body.decode()}]==]\n"
        )
        command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}", "--latency", "-s", str(script)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        address = f"http://127.0.0.1:{port}{PATH}"
        told = subprocess.run([*command, address], capture_output=True, text=True, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    refused = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", told)))
    refused += sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", told)))
    [requests] = re.findall(r"(\d+) requests in", told)
    return int(requests) - refused, refused, cpu, _percentile(told, 50), _percentile(told, 99)


def _percentile(told: str, share: int) -> float:
    found = re.search(rf"{share}%\s+([\d.]+)(us|ms|s)\b", told)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0
