"""The accounting of the chaos finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.accounting import Ledger, LedgerFile
from tests.cluster.plan import plan


def test_a_body_after_its_step_was_known_as_done_is_a_repetition():
    ledger = Ledger()
    ledger.body("run", "a", at=1.0)
    ledger.known_done("run", ["a"])

    ledger.body("run", "a", at=2.0)
    ledger.body("run", "b", at=3.0)

    assert [("run", "a")] == ledger.repeated
    assert 1 == ledger.duplicates


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
