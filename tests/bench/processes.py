"""Processes that are measured: started, ended or killed as a group, their CPU time and memory read from /proc."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SERVES = re.compile(r"(\S+) (?:\S+\(\d+\)|\[local\])|autovacuum worker (\S+)")
_TICK = os.sysconf("SC_CLK_TCK")
#: What a process is given to end after TERM.
GRACE = 15.0


class Process:
    """One command and all that it started."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | env, stdout=output, stderr=output, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._popen.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def succeeds(self, seconds: float) -> bool:
        """Wait for its end; False when it failed or took longer."""
        with suppress(subprocess.TimeoutExpired):
            return self._popen.wait(seconds) == 0
        self.kill()
        return False

    def kill(self) -> None:
        """Kill the group with -9."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def stop(self) -> None:
        """End it in order, or by force when it does not."""
        self._popen.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(GRACE)
        self.kill()

    def last_words(self) -> str:
        """The end of what it printed."""
        return self._log.read_text(errors="replace")[-2000:]


def cpu_of(pids: set[int]) -> float:
    """CPU seconds of these processes and of those that they started, living or gone."""
    stats = _stats()
    return sum(spent for pid, (_, _, spent) in stats.items() if pid in _family(stats, pids))


def cpu_of_named(names: set[str], database: str) -> float:
    """CPU seconds of all processes of these names, such as a broker's, without what they have buried.

    Of PostgreSQL's, those are left out that serve another database.
    """
    return sum(
        own
        for pid, _, name, own, _ in _processes()
        if name in names and not (name == "postgres" and _serves_another(pid, database))
    )


def _serves_another(pid: int, database: str) -> bool:
    """Whether a process of PostgreSQL is titled with another database: `... USER DATABASE ADDRESS(PORT) idle`."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return True
    serves = _SERVES.search(title)
    return serves is not None and (serves[1] or serves[2]) != database


def memory_of(pids: set[int]) -> int:
    """Bytes that these processes and those that they started hold, shared pages in parts."""
    return sum(_memory(pid) for pid in _family(_stats(), pids))


def _family(stats: dict[int, tuple[int, str, float]], pids: set[int]) -> set[int]:
    family, grown = set[int](), set(pids)
    while grown:
        family |= grown
        grown = {pid for pid, (parent, _, _) in stats.items() if parent in grown} - family
    return family


def _stats() -> dict[int, tuple[int, str, float]]:
    return {pid: (parent, name, own + buried) for pid, parent, name, own, buried in _processes()}


def _processes() -> Iterator[tuple[int, int, str, float, float]]:
    """Each process as (id, parent, name, CPU seconds of its own, and of the children it has buried)."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                before, _, after = Path(entry.path, "stat").read_text().rpartition(")")
                fields = after.split()
                own, buried = (sum(map(int, some)) / _TICK for some in (fields[11:13], fields[13:15]))
                yield int(entry.name), int(fields[1]), before.partition("(")[2], own, buried


def _memory(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def until(look: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Look again and again until it is so; False when the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if look():
            return True
        time.sleep(every)
    return look()
