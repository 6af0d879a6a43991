"""Nothing that comes from outside makes the server fail or hang: the form of the campaign that CI has time for."""

from __future__ import annotations

import time

import pytest

from tests.fuzz.campaign import run, server
from tests.fuzz.targets import OverHttp, targets

#: Of each target.
INPUTS = 1000


@pytest.mark.timeout(300)
def test_no_input_makes_the_server_fail_or_hang() -> None:
    seed = int(time.time())

    with server() as way:
        complaints = run(way, seed, range(INPUTS))

    assert not complaints, f"seed {seed}: {[str(complaint) for complaint in complaints[:5]]}"


def test_a_server_that_does_not_answer_is_complained_of() -> None:
    way = OverHttp(1)  # nobody listens there

    complaints = run(way, 1, range(2), only=["events"])

    assert ["no answer: ConnectionRefusedError"] * 2 == [it.what.rpartition(":")[0] for it in complaints]


def test_the_same_seed_makes_the_same_inputs() -> None:
    way = OverHttp(1)

    first, second = (run(way, 7, range(3), only=["registrations"]) for _ in range(2))

    assert [it.sent for it in first] == [it.sent for it in second]
    assert 7 == len(targets(way))
