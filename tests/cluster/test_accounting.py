"""The accounting of the chaos finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.accounting import CLOSE, Disturbance, Ledger, LedgerFile
from tests.cluster.plan import plan


def test_a_body_after_its_step_was_known_as_done_is_a_repetition():
    ledger = Ledger()
    ledger.body("run", "a", at=1.0)
    ledger.known_done("run", ["a"])

    ledger.body("run", "a", at=2.0)
    ledger.body("run", "b", at=3.0)

    assert [("run", "a")] == ledger.repeated
    assert 1 == ledger.duplicates


def test_a_body_that_ran_again_is_explained_only_by_what_happened_to_its_own_process():
    ledger = Ledger()
    ledger.body("run", "a", at=100.0, pid=7)
    ledger.body("run", "a", at=101.0, pid=8)
    names = {7: "inside0", 8: "attached0"}

    of_another = Disturbance("kill", "attached0", 100.5, 100.5)
    long_before = Disturbance("kill", "inside0", 90.0, 99.9 - CLOSE)
    after = Disturbance("kill", "inside0", 101.5, 101.5)
    between = Disturbance("kill", "inside0", 100.5, 100.5)

    assert 1 == len(ledger.unexplained([of_another, long_before, after], names))
    assert [] == ledger.unexplained([between], names)


def test_what_processes_wrote_is_read_line_by_line_and_only_once(tmp_path: Path):
    ledger = Ledger()
    file = LedgerFile(tmp_path / "ledger", ledger)
    (tmp_path / "ledger").write_text("1.0 7 body run a\n1.1 7 done run a\n1.2 7 end run 1\n")
    file.read()
    file.read()

    assert [(1.0, 7)] == ledger.bodies["run", "a"]
    assert {"2"} == ledger.missing(["1", "2"])


def test_the_same_seed_makes_the_same_plan():
    assert plan(4, 60, 1.0) == plan(4, 60, 1.0) != plan(5, 60, 1.0)
