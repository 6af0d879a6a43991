"""Run the development server and the example shop in one terminal, and say how to send the first event.

Both are children in sessions of their own, so that a Ctrl-C reaches this process alone; it hands one signal on to the
server and then ends the shop.  Arguments it does not know go to `orchestrator dev` as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
SHOP = ROOT / "examples" / "shop_flask" / "app.py"
EVENT = {
    "name": "shop/product.imported",
    "data": {"productId": "mug-1", "imageURLs": ["https://shop.example/mug-front.png"]},
}
START_LIMIT = 15.0
STOP_LIMIT = 10.0
LOOK_EVERY = 0.1
INTERRUPTED = 130


def main() -> int:
    """Run both until the server ends, and return its exit code."""
    options, server_arguments = _parse(sys.argv[1:])
    busy = _busy_port(options)
    if busy:
        print(busy, file=sys.stderr)
        return 1
    shop = _start_shop(options)
    try:
        if not _answers(shop, f"http://localhost:{options.app_port}/"):
            print("The example shop did not start; what it said is above.", file=sys.stderr)
            return 1
        return _run_server(options, server_arguments, shop)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        _end(shop)


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="make dev", description=__doc__, add_help=True)
    parser.add_argument("--port", type=int, default=8288, help="port of the server (8288)")
    parser.add_argument("--app-port", type=int, default=5000, help="port of the example shop (5000)")
    return parser.parse_known_args(arguments)


def _busy_port(options: argparse.Namespace) -> str | None:
    """The sentence about the first port that is taken."""
    for port, owner, flag in ((options.port, "server", "--port"), (options.app_port, "example shop", "--app-port")):
        if _taken(port):
            return (
                f"Port {port}, where the {owner} is to listen, is in use. "
                f'Stop what listens there, or choose another: make dev ARGS="{flag} {port + 1}"'
            )
    return None


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do it: a port left a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _start_shop(options: argparse.Namespace) -> subprocess.Popen[bytes]:
    environment = os.environ | {"INNGEST_DEV": f"http://localhost:{options.port}"}
    command = [sys.executable, str(SHOP), "--port", str(options.app_port)]
    return subprocess.Popen(command, env=environment, start_new_session=True)


def _run_server(options: argparse.Namespace, arguments: list[str], shop: subprocess.Popen[bytes]) -> int:
    url = f"http://localhost:{options.app_port}/api/inngest"
    command = [sys.executable, "-m", "orchestrator.cli.main", "dev", "--port", str(options.port), "-u", url, *arguments]
    server = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: _hand_on(server, received))
    if _answers(server, f"http://localhost:{options.port}/health"):
        print(_first_steps(options), flush=True)
    return _watch(server, shop)


def _hand_on(server: subprocess.Popen[bytes], number: int) -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)


def _answers(child: subprocess.Popen[bytes], url: str) -> bool:
    """Wait until the child answers over HTTP; False if it ends first or takes too long."""
    deadline = time.monotonic() + START_LIMIT
    while child.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=2):
                return True
        except (URLError, OSError):
            time.sleep(LOOK_EVERY)
    return False


def _first_steps(options: argparse.Namespace) -> str:
    server = f"http://localhost:{options.port}"
    return (
        "\nReady. In another terminal, send an event:\n\n"
        f"  curl -s -X POST {server}/e/dev -d '{json.dumps(EVENT)}'\n\n"
        f"and look at the run it started: {server}/runs in a browser or, with the id it answers,\n\n"
        f"  curl -s {server}/v1/events/ID/runs\n"
    )


def _watch(server: subprocess.Popen[bytes], shop: subprocess.Popen[bytes]) -> int:
    """Wait for the server's end; say it once if the shop ends before."""
    shop_runs = True
    while True:
        try:
            return server.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if shop_runs and shop.poll() is not None:
                shop_runs = False
                print(f"The example shop ended with exit code {shop.returncode}; the server goes on.", file=sys.stderr)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(timeout=STOP_LIMIT)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main())
