"""Counting in spans of time: where spans begin, and how near quantiles of bins are to the truth."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from orchestrator.core.tally import BOUNDS, MINUTE, SPANS, begin_of, quantile

AT = datetime(2026, 11, 21, 14, 37, 12, 345, tzinfo=UTC)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (MINUTE, datetime(2026, 11, 21, 14, 37, tzinfo=UTC)),
        (timedelta(minutes=15), datetime(2026, 11, 21, 14, 30, tzinfo=UTC)),
        (timedelta(hours=3), datetime(2026, 11, 21, 12, tzinfo=UTC)),
        (timedelta(hours=12), datetime(2026, 11, 21, 12, tzinfo=UTC)),
    ],
)
def test_spans_begin_where_they_began_the_day_before(span: timedelta, expected: datetime) -> None:
    assert expected == begin_of(AT, span)
    assert expected == begin_of(expected, span)


def test_each_span_is_made_of_whole_spans_of_the_one_before() -> None:
    spans = list(SPANS)

    assert [MINUTE, *spans[1:]] == spans
    assert all(not longer % shorter for shorter, longer in pairwise(spans))


@pytest.mark.parametrize("share", [0.5, 0.95])
@pytest.mark.parametrize("seed", range(4))
def test_a_quantile_of_bins_is_right_to_a_few_per_cent(share: float, seed: int) -> None:
    chance = random.Random(seed)
    lengths = sorted(chance.lognormvariate(12, 2) for _ in range(20_000))

    found = quantile(Counter(bisect_right(BOUNDS, it) for it in lengths), share)

    assert found is not None
    true = lengths[int(share * len(lengths))]
    assert abs(found / timedelta(microseconds=1) / true - 1) < 0.05


def test_there_is_no_quantile_of_nothing() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({3: 0}, 0.5) is None


def test_what_is_shorter_or_longer_than_all_bounds_has_a_quantile() -> None:
    assert quantile({0: 1}, 1.0) == timedelta(microseconds=BOUNDS[0])
    assert quantile({len(BOUNDS): 5}, 0.5) == timedelta(microseconds=BOUNDS[-1])


def test_bins_reach_from_a_millisecond_to_two_months() -> None:
    assert BOUNDS[0] == 1000
    assert timedelta(microseconds=BOUNDS[-1]) > timedelta(days=60)
    assert list(BOUNDS) == sorted(set(BOUNDS))
