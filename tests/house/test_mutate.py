"""The chore that removes the guards of the core one by one does what it says."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "mutate.py"
#: Long: the machine may be busy.
DEADLINE = 50.0


@pytest.fixture(scope="module")
def mutate() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("mutate", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["mutate"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutate"]


def test_every_guard_of_the_core_has_a_mutant_with_a_name_of_its_own(mutate: ModuleType):
    names = [mutant.name for path in mutate.TARGETS for mutant in mutate.mutants(path)]

    assert len(names) == len(set(names)) > 200
    assert {"run.advance: run.status.final -> False", "run._is_new: (None, StepStatus.RETRYING) -> (None,)"} <= {*names}


def test_what_is_called_equivalent_exists_and_has_a_reason(mutate: ModuleType):
    names = {mutant.name for path in mutate.TARGETS for mutant in mutate.mutants(path)}

    assert set() == set(mutate.EQUIVALENT) - names
    assert all(len(reason.split()) > 4 for reason in mutate.EQUIVALENT.values())


def test_a_guard_that_is_removed_is_noticed_and_the_file_stays_as_it_is(mutate: ModuleType):
    every = [mutant for path in mutate.TARGETS for mutant in mutate.mutants(path)]
    mutant = next(it for it in every if it.name == "run.advance: run.status.final -> False")
    before = (mutate.ROOT / mutant.path).read_text()

    verdict = mutate.judge(mutant, DEADLINE)

    assert mutate.NOTICED == verdict
    assert before == (mutate.ROOT / mutant.path).read_text()
