"""What the processes themselves told of work that was taken from them, or that they failed at.

A body that runs again needs a cause: the lease of its call was taken back, or the call failed.  The first is told by
whoever took it back, in its log; the second stands in the run's history.  A process that was starved of CPU, or
stopped, for longer than its leases last, has lost them though nothing was done to it; it tells so when it goes on.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.cluster.accounting import Disturbance, Ledger, Repetition

#: After these a call is made again.
CAUSES = ("lease recovered", "job crashed", "attempt failed")
_LATE = "heartbeat late"
#: Who ends so has perhaps done something, and not told it any more.
_SILENCING = ("kill", "ended alone")
#: Seconds by which records of one moment differ: what is told is told a little later.
_ABOUT = 1.0
#: A record of a worker of ours is JSON; that of a user's Celery application is Celery's line with ours in it.
_CELERYS = re.compile(r"\[(?P<at>[-\d]+ [:\d]+,\d{3}): \w+/[^\]]*\] (?P<text>[a-z ]+?)(?P<rest>( \w+=\S+)*)$")


@dataclass(frozen=True)
class Told:
    """One record: when, as `time.time()`, what, and its keywords as text."""

    at: float
    what: str
    about: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.at:.3f} {self.what} {dict(self.about)}"


class Evidence:
    """All records that bear upon why something ran again."""

    def __init__(self, told: Sequence[Told]) -> None:
        self.told = sorted(told, key=lambda it: it.at)

    @classmethod
    def of_logs(cls, logs: Sequence[str]) -> Evidence:
        """What stands in the logs of processes."""
        return cls([it for log in logs for line in log.splitlines() if (it := _read(line)) is not None])

    def and_histories(self, runs: Mapping[str, Any]) -> Evidence:
        """The same with the failed attempts of runs, which are as `GET /v1/runs/ID` tells them, by their ids."""
        failed = [
            Told(_moment(it["at"]), it["kind"], {"run_id": run_id, "error": json.dumps(it["data"])})
            for run_id, run in runs.items()
            for it in run["history"]
            if it["kind"] in CAUSES
        ]
        return Evidence([*self.told, *failed])

    def causes(self, again: Repetition) -> list[Told]:
        """Why a call of the run was made again between the two bodies."""
        run_id = again.step[0]
        return [it for it in self.told if it.what in CAUSES and it.about.get("run_id") == run_id and _is_in(it, again)]

    def starved(self, lost: Told) -> bool:
        """Whether the holder of a lease that ran out had not got to prolonging it, as it told itself."""
        if lost.what != "lease recovered" or lost.about.get("died", "").lower() == "true":
            return False
        return any(
            it.at - float(it.about["seconds"]) - _ABOUT <= lost.at <= it.at + _ABOUT
            for it in self.told
            if it.what == _LATE and it.about["owner"] == lost.about.get("owner")
        )

    def of_run(self, run_id: str) -> str:
        """All that was told of a run, and of late heartbeats, for people."""
        return "\n".join(f"    {it}" for it in self.told if it.what == _LATE or it.about.get("run_id") == run_id)


def charge(
    ledger: Ledger, disturbances: Sequence[Disturbance], names: Mapping[int, str], evidence: Evidence
) -> list[str]:
    """Bodies that ran again and should not have.

    There must be a cause that was told, unless a process was killed meanwhile, perhaps before it could; and a reason
    for it: something was done to the process that made the first call, or it was starved.
    """
    found = []
    for again in ledger.repetitions():
        causes = evidence.causes(again)
        deeds = again.deeds(disturbances, names)
        untold = not causes and not any(it.what in _SILENCING and again.meanwhile(it) for it in disturbances)
        if untold or not (deeds or any(evidence.starved(it) for it in causes)):
            why = "nothing told that its call was made again" if untold else "nothing had been done to its process"
            found.append(f"{again.told(names)}: {why}\n{evidence.of_run(again.step[0])}")
    return found


def tally(ledger: Ledger, evidence: Evidence) -> Mapping[str, int]:
    """How many bodies ran again for which cause, the last one told counting."""
    last = ((again, evidence.causes(again)[-1:]) for again in ledger.repetitions())
    return Counter(_kind(evidence, cause[0]) if cause else "untold" for _, cause in last)


def evidence_of(ledger: Ledger, logs: Sequence[str], run: Callable[[str], Any]) -> Evidence:
    """All there is to hear about the ledger's repetitions; `run` gets a run as the server tells of it."""
    again = {it.step[0] for it in ledger.repetitions()}
    return Evidence.of_logs(logs).and_histories({run_id: run(run_id) for run_id in again})


def _kind(evidence: Evidence, cause: Told) -> str:
    if cause.what != "lease recovered":
        return cause.what
    if cause.about.get("died", "").lower() == "true":
        return "its holder died"
    return "its holder was starved" if evidence.starved(cause) else "lease ran out"


def _is_in(told: Told, again: Repetition) -> bool:
    return again.before - _ABOUT <= told.at <= again.after + _ABOUT


def _read(line: str) -> Told | None:
    if line.startswith("{"):
        try:
            record = json.loads(line)
        except ValueError:  # killed in the middle of it
            return None
        about = {name: str(value) for name, value in record.items()}
        return _kept(_moment(about.pop("timestamp", "")), about.pop("message", ""), about)
    match = _CELERYS.match(line)
    if match is None:
        return None
    at = datetime.strptime(match["at"], "%Y-%m-%d %H:%M:%S,%f").timestamp()  # of this machine, and so its zone's
    return _kept(at, match["text"], dict(pair.split("=", 1) for pair in match["rest"].split()))


def _kept(at: float, what: str, about: Mapping[str, str]) -> Told | None:
    return Told(at, what, about) if what in (*CAUSES, _LATE) else None


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0
