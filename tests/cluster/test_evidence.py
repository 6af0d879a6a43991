"""What ran again is charged to somebody, or found to be without a reason."""

from __future__ import annotations

import pytest

from tests.cluster.accounting import CLOSE, Disturbance, Ledger
from tests.cluster.evidence import Evidence, Told, charge, tally

RECOVERED = (
    '{"timestamp":"1970-01-01T00:02:30Z","level":"warning","message":"lease recovered","job_id":9,"kind":"call",'
    '"run_id":"run","crashes":1,"owner":"p-1","died":false}'
)
LATE = '{"timestamp":"1970-01-01T00:02:40Z","level":"warning","message":"heartbeat late","owner":"p-1","seconds":41.5}'
NAMES = {7: "inside0", 8: "attached0"}


@pytest.fixture
def ledger() -> Ledger:
    """A body that ran at 100 s and again at 158 s."""
    made = Ledger()
    made.body("run", "a", at=100.0, pid=7)
    made.body("run", "a", at=158.0, pid=8)
    return made


def told(what: str, at: float = 130.0, **about: str) -> Told:
    return Told(at, what, {"run_id": "run"} | about)


def died(at: float = 130.0) -> Told:
    return told("lease recovered", at, owner="p-1", died="true")


def test_only_what_happened_to_its_own_process_is_a_reason(ledger: Ledger):
    of_another = Disturbance("cut", "attached0", 130.0, 130.0)
    long_before = Disturbance("cut", "inside0", 90.0, 99.9 - CLOSE)
    after = Disturbance("cut", "inside0", 158.5, 158.5)
    between = Disturbance("cut", "inside0", 130.0, 130.0)
    evidence = Evidence([died()])

    assert 1 == len(charge(ledger, [of_another, long_before, after], NAMES, evidence))
    assert [] == charge(ledger, [between], NAMES, evidence)


def test_a_reason_without_a_cause_that_was_told_is_not_enough_unless_a_kill_may_have_silenced_it(ledger: Ledger):
    cut = Disturbance("cut", "inside0", 130.0, 130.0)
    kill_of_another = Disturbance("kill", "attached0", 130.0, 130.0)

    [charged] = charge(ledger, [cut], NAMES, Evidence([died(at=90.0), died(at=160.0)]))

    assert "nothing told that its call was made again" in charged
    assert [] == charge(ledger, [cut, kill_of_another], NAMES, Evidence([]))


def test_a_lease_that_ran_out_is_explained_by_its_holders_own_late_heartbeat(ledger: Ledger):
    late = Evidence.of_logs([LATE, RECOVERED])
    of_another = Evidence.of_logs([LATE.replace("p-1", "p-2"), RECOVERED])
    on_time = Evidence.of_logs([LATE.replace("41.5", "8"), RECOVERED])

    assert [] == charge(ledger, [], NAMES, late)
    assert {"its holder was starved": 1} == tally(ledger, late)
    for evidence in (of_another, on_time):
        assert 1 == len(charge(ledger, [], NAMES, evidence))
        assert {"lease ran out": 1} == tally(ledger, evidence)


def test_a_lease_taken_from_one_who_was_thought_dead_is_not_explained_by_a_late_heartbeat(ledger: Ledger):
    evidence = Evidence.of_logs([LATE, RECOVERED.replace("false", "true")])

    assert 1 == len(charge(ledger, [], NAMES, evidence))
    assert {"its holder died": 1} == tally(ledger, evidence)


def test_a_failed_attempt_is_found_in_the_runs_history(ledger: Ledger):
    entry = {"kind": "attempt failed", "at": "1970-01-01T00:01:41.000Z", "data": {"name": "unreachable"}}
    freeze = Disturbance("freeze app", "*", 99.0, 102.0)

    evidence = Evidence([]).and_histories({"run": {"history": [entry, entry | {"kind": "function changed"}]}})

    assert {"attempt failed": 1} == tally(ledger, evidence)
    assert [] == charge(ledger, [freeze], NAMES, evidence)
    assert 1 == len(charge(ledger, [], NAMES, evidence))


def test_records_are_read_from_our_lines_and_from_celerys_and_half_a_line_is_none():
    celerys = (
        "[2026-11-21 23:32:37,123: WARNING/MainProcess] lease recovered job_id=9 kind=call run_id=run crashes=1 "
        "owner=p-1 died=False"
    )
    noise = "[2026-11-21 23:32:37,124: INFO/MainProcess] Task orchestrator.runner[1] received"

    evidence = Evidence.of_logs([RECOVERED[:60], f"{noise}\n{celerys}"])

    [read] = evidence.told
    assert ("lease recovered", "run", "p-1", "False") == (read.what, *map(read.about.get, ("run_id", "owner", "died")))
