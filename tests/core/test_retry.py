"""When a failed attempt is tried again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.core.retry import BACKOFF, JITTER, RETRY_AFTER_MAX, RETRY_AFTER_MIN, delay

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("attempt", "wait"), list(enumerate(BACKOFF)))
def test_each_failed_attempt_has_its_wait_in_the_table(attempt: int, wait: timedelta):
    assert wait == delay(attempt, chance=0.0)


@pytest.mark.parametrize("attempt", [len(BACKOFF), len(BACKOFF) + 1, 1000])
def test_the_last_wait_of_the_table_repeats(attempt: int):
    assert BACKOFF[-1] == delay(attempt, chance=0.0)


@pytest.mark.parametrize("chance", [0.25, 0.5, 0.75])
def test_chance_adds_its_part_of_the_jitter(chance: float):
    assert BACKOFF[0] + JITTER * chance == delay(0, chance)


def test_a_constant_wait_has_neither_table_nor_jitter():
    assert 2 * SECOND == delay(5, chance=0.9, constant=2 * SECOND)


def test_a_constant_wait_may_be_none_at_all():
    assert timedelta() == delay(0, chance=0.9, constant=timedelta())


@pytest.mark.parametrize("constant", [None, 2 * SECOND])
def test_what_the_app_asks_for_wins_without_jitter(constant: timedelta | None):
    assert 90 * SECOND == delay(0, chance=0.9, retry_after=90 * SECOND, constant=constant)


@pytest.mark.parametrize(
    ("asked", "wait"),
    [(timedelta(), RETRY_AFTER_MIN), (-SECOND, RETRY_AFTER_MIN), (timedelta(days=9), RETRY_AFTER_MAX)],
)
def test_what_the_app_asks_for_is_kept_within_bounds(asked: timedelta, wait: timedelta):
    assert wait == delay(0, chance=0.0, retry_after=asked)
