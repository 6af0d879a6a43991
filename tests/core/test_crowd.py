"""Why jobs wait, as sentences that need no documents."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core.crowd import Crowd, crowded, gated, paused, throttled

CROWD = Crowd("11:x", "limit", "event.data.user", 'a"da', "f", used=2, waiting=1_041, allowed=2)


def test_a_full_limit_says_what_is_full_for_which_value_and_how_it_goes_on() -> None:
    told = crowded(CROWD)

    assert told.startswith('1 041 calls wait: at most 2 calls may be at work at once where event.data.user is "a\\"da"')
    assert told.endswith(", and 2 are; each that ends lets one in")


def test_one_is_told_in_the_singular_and_a_limit_of_runs_speaks_of_runs() -> None:
    one = replace(CROWD, key="01:x", expression=None, used=1, waiting=1, allowed=1)

    assert "1 call waits: at most 1 run may be at work at once, and 1 is; each that ends lets one in" == crowded(one)


def test_a_limit_that_is_shared_says_so() -> None:
    assert "at most 2 calls of all functions together" in crowded(replace(CROWD, key="12:x", function_id=None))


def test_where_there_is_room_or_no_limit_any_more_that_is_said() -> None:
    room, gone = crowded(replace(CROWD, used=1)), crowded(replace(CROWD, allowed=None))

    assert "1 of 2 slots are taken, and the next are being given out" in room
    assert "though the limit is gone" in gone


def test_throttles_pauses_bursts_and_batches_say_what_they_wait_for() -> None:
    assert [
        "1 run waits: a throttle lets them begin at a pace",
        "40 runs wait: a throttle lets them begin at a pace",
        "2 runs wait until the function, which is paused, is resumed",
        "1 burst of events is debounced: a run starts when no more of them come",
        "3 batches fill: a run starts when one is full, or has waited long enough",
    ] == [throttled(1), throttled(40), paused(2), gated("debounce", 1), gated("batch", 3)]
