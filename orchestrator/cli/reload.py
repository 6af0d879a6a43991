"""`orchestrator dev --app`: the server anew whenever a module changes.

A supervisor opens what outlives a change, the port and the state, and forks a child that is the server.  The child
watches the source files that it loaded from the working directory; when one changes it hands back what it works on and
ends with `CHANGED`, and the next child goes on with that.  A child that cannot load its modules says why, and waits for
the next save.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

import click

from orchestrator import log
from orchestrator.cli import embedded
from orchestrator.cli.exits import Exit
from orchestrator.cli.news import heard
from orchestrator.cli.problem import Problem
from orchestrator.config import Config
from orchestrator.errors import BrokenModuleError, ConfigError, RequestError
from orchestrator.store.embedded import StateDirectory

_log = log.get(__name__)

#: A child ends with this when its code changed.
CHANGED = 86
#: Seconds between two looks at the files.
POLL = 0.25
#: Folders that hold nobody's own code.
_FOREIGN = ("site-packages", "node_modules", "__pycache__")
_MOST_FILES = 10_000

Stamp = tuple[int, int]


def run(config: Config) -> None:
    """Run a server until interrupted or terminated, and anew whenever its code changes."""
    listener = embedded.listen(config)
    try:
        state = embedded.open_state(config)
    except BaseException:
        listener.close()
        raise
    try:
        code = _Supervisor(config, state, listener).run()
    finally:
        listener.close()
        state.close()
    if code:
        sys.exit(code)


class _Supervisor:
    """Has one child after the other."""

    def __init__(self, config: Config, state: StateDirectory, listener: socket.socket) -> None:
        self._config, self._state, self._listener = config, state, listener
        self._child: int | None = None
        self._generations = 0
        self._ended = False

    def run(self) -> int:
        """Go on until told to end, or until a child ends for another reason than a change; returns the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)
        code = CHANGED
        while code == CHANGED and not self._ended:
            code = self._generation()
        return 0 if self._ended else code

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ended = True
        if self._child is not None:
            os.kill(self._child, signal.SIGTERM)

    def _generation(self) -> int:
        supervisor, first = os.getpid(), not self._generations
        self._generations += 1
        sys.stdout.flush()
        # Told to end while forking: the child must neither miss it nor take the supervisor's handler for its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, _BOTH)
        self._child = os.fork()
        if self._child == 0:
            _be_child(lambda: _serve(self._config, self._state, self._listener, supervisor, first))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _BOTH)
        ended, status = os.waitpid(self._child, os.WNOHANG)
        while not ended:
            time.sleep(_PAUSE)  # In short waits, as in `cli.news`.
            ended, status = os.waitpid(self._child, os.WNOHANG)
        self._child = None
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


_BOTH = (signal.SIGINT, signal.SIGTERM)
#: Seconds between two looks at a child.
_PAUSE = 0.1


def _be_child(work: Callable[[], int]) -> None:
    """Do the work and end the process: nothing of the supervisor's stack is this one's."""
    code = 1
    try:
        code = work()
    except ConfigError as error:
        Problem(error.message).show()
        code = Exit.CONFIG
    except click.ClickException as problem:
        problem.show()
        code = problem.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve(config: Config, state: StateDirectory, listener: socket.socket, supervisor: int, first: bool) -> int:
    """Be the server, until told to end or until the code changes; returns the exit code."""
    began = time.time_ns()
    for number in _BOTH:
        signal.signal(number, signal.SIG_DFL)  # What is still being loaded may be left at any moment.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BOTH)
    sys.dont_write_bytecode = True  # It tells versions apart by the second only, and people save faster than that.
    news = SimpleQueue[int]()
    server, files = None, _loaded
    try:
        server = embedded.EmbeddedServer(config, state=state, listener=listener)
        server.start()
    except (ConfigError, RequestError) as error:
        if first and not isinstance(error, BrokenModuleError | RequestError):
            raise
        click.echo(f"{error.message}\n\nwaiting for a change", err=True)
        files = _all
    for number in _BOTH:
        signal.signal(number, lambda number, _frame: news.put(number))
    watch = threading.Thread(target=_watch, args=(files, began, supervisor, news), name="watch", daemon=True)
    watch.start()
    why = heard(news)
    if server is not None:
        server.stop()
    return CHANGED if why == CHANGED else 0


def _watch(files: Callable[[], Iterator[str]], began: int, supervisor: int, news: SimpleQueue[int]) -> None:
    """Tell when a file has changed since the child began (Unix nanoseconds), or when the supervisor is gone."""
    known = dict[str, Stamp]()
    while os.getppid() == supervisor:
        for file in files():
            stamp = _stamp(file)
            if stamp is None:
                continue  # Editors take a file away for a moment as they save it.
            before = known.get(file)
            known[file] = stamp
            if before != stamp and (before is not None or began < stamp[0] <= time.time_ns()):
                _log.info("code changed", file=os.path.relpath(file))
                news.put(CHANGED)
                return
        time.sleep(POLL)
    news.put(signal.SIGTERM)


def _stamp(file: str) -> Stamp | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _loaded() -> Iterator[str]:
    """The source files of the modules that were loaded from the working directory."""
    home = f"{Path.cwd()}{os.sep}"
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.startswith(home) and not any(name in file for name in _FOREIGN):
            yield file


def _all() -> Iterator[str]:
    """The source files in the working directory: where loading failed, nobody knows what it needed."""
    count = 0
    for folder, folders, names in os.walk(Path.cwd()):
        folders[:] = [name for name in folders if name not in _FOREIGN and not name.startswith(".")]
        for name in names:
            if name.endswith(".py") and count < _MOST_FILES:
                count += 1
                yield os.path.join(folder, name)
