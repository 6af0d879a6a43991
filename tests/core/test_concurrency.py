"""Which pools a run needs slots of, in which order they are taken, and who gets one."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from orchestrator.core.concurrency import Level, Needs, Turn, enter, limit_id, needs, rank, serve
from orchestrator.core.function import Concurrency

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = {"data": {"user": "ann", "n": 7}}


def pools(*limits: Concurrency, function_id: str = "f", event: object = EVENT) -> Needs:
    found, warnings = needs(function_id, limits, event)
    assert found is not None
    assert [] == warnings
    return found


def keys(*limits: Concurrency, **values: object) -> list[str]:
    return [pool.key for pool in pools(*limits, **values).pools]  # type: ignore[arg-type]


def test_a_function_without_limits_needs_nothing():
    assert (None, []) == needs("f", (), EVENT)


def test_whole_runs_come_first_then_keys_of_the_event_then_the_rest():
    order = [
        Concurrency(1, whole_run=True),
        Concurrency(1, "event.data.user"),
        Concurrency(1, "event.data.n", "account"),
        Concurrency(1),
        Concurrency(1, '"api"', "env"),
        Concurrency(1, '"api"', "account"),
    ]

    shuffled = random.Random(1).sample(order, len(order))

    assert [limit_id(it) for it in order] == [pool.limit_id for pool in pools(*shuffled).pools]


def test_own_pools_belong_to_the_function_and_shared_ones_to_their_value():
    own, shared = Concurrency(1, "event.data.user"), Concurrency(1, "event.data.user", "env")

    assert keys(own) != keys(own, function_id="g")
    assert keys(shared) == keys(shared, function_id="g")
    assert keys(shared) != keys(Concurrency(1, "event.data.user", "account"))


def test_a_limit_keeps_its_pool_when_its_number_or_its_place_changes():
    one, other = Concurrency(1, "event.data.user"), Concurrency(1, "event.data.n")

    assert sorted(keys(one, other)) == sorted(keys(other, Concurrency(9, "event.data.user")))


def test_two_limits_with_equal_values_are_two_pools():
    both = keys(Concurrency(1, "event.data.user"), Concurrency(1, 'event.data.user + ""'))

    assert 2 == len(set(both))


def test_a_key_without_a_value_is_counted_under_the_empty_one_with_a_warning():
    found, warnings = needs("f", (Concurrency(1, "event.data.n.size() > 1"),), EVENT)

    assert found is not None
    assert [""] == [pool.value for pool in found.pools]
    assert 1 == len(warnings)


def test_what_is_kept_with_a_run_is_read_as_it_was_written():
    found = pools(Concurrency(1, "event.data.user"), Concurrency(5))

    assert found == Needs.read(found.text())


def test_a_newcomer_takes_what_is_free_up_to_the_first_full_pool():
    levels = {"a": Level(0, 0, 1), "b": Level(2, 0, 2), "c": Level(0, 0, 1)}

    assert Turn(("a",), "b") == enter(["a", "b", "c"], levels)
    assert Turn(("a", "c")) == enter(["a", "c"], levels)


def test_a_newcomer_does_not_pass_those_who_wait():
    assert Turn((), "a") == enter(["a"], {"a": Level(0, 1, 1)})


def test_who_is_served_goes_on_to_the_next_pool_as_a_newcomer():
    levels = {"a": Level(0, 3, 1), "b": Level(0, 1, 1)}

    assert Turn(("a",), "b") == serve(["a", "b"], levels)
    assert None is serve(["b"], {"b": Level(1, 1, 1)})


def test_a_limit_that_is_gone_leaves_room_for_all():
    assert Turn(("a",)) == enter(["a"], {"a": Level(1_000, 0, None)})


def test_priority_counts_as_seconds_of_age():
    assert rank(NOW, 300) == rank(NOW - timedelta(seconds=300))
    assert rank(NOW, 1) < rank(NOW) < rank(NOW, -1)
