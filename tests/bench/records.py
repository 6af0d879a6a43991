"""What the functions of the bench app did, one line a deed, in a file that survives whoever wrote it.

A line is `kind run step CLOCK_MONOTONIC_ns`: `s` a step's body ran, `a` about to sleep, `w` woken, `d` the function's
last statement.  One clock serves all processes of the machine, so moments of different writers compare.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from pathlib import Path


class Recorder:
    """Writes lines; one system call each, so that writers never mix."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, kind: str, run: str, step: str) -> None:
        """Write one line with the present moment."""
        os.write(self._file, f"{kind} {run} {step} {time.monotonic_ns()}\n".encode())


class Records:
    """Reads the lines as they come; moments are in nanoseconds."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb")
        self._rest = b""
        #: kind -> run -> moments, in the order of writing.
        self.of: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        #: (run, step) -> moments of the body.
        self.bodies: dict[tuple[str, str], list[int]] = defaultdict(list)

    def refresh(self) -> None:
        """Read what was written since."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            kind, run, step, moment = line.decode().split(" ")
            self.of[kind][run].append(int(moment))
            if kind == "s":
                self.bodies[run, step].append(int(moment))

    def first(self, kind: str, prefix: str) -> dict[str, int]:
        """The first moment of a kind in each run whose name begins so."""
        return {run: moments[0] for run, moments in self.of[kind].items() if run.startswith(prefix)}

    def count(self, kind: str, prefix: str) -> int:
        """In how many runs something of a kind happened."""
        return sum(run.startswith(prefix) for run in self.of[kind])

    def steps(self, prefix: str) -> list[int]:
        """All moments at which a step's body ran, in order."""
        return sorted(at for (run, _), moments in self.bodies.items() if run.startswith(prefix) for at in moments)

    def close(self) -> None:
        """Read no more."""
        self._file.close()
