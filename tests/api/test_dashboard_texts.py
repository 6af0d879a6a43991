"""How pages write JSON, and what a run waits for."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from markupsafe import escape

from orchestrator.api.dashboard.texts import SHOWN, glance, pretty, told
from orchestrator.core.waiting import Reason
from orchestrator.store.event_search import EventRow

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["no json at all", "a  b\n c", '"cut', "", "<b>x</b>", "{'a': 1}"])
def test_what_is_no_json_is_shown_as_it_is(text: str) -> None:
    assert escape(text) == pretty(text)


def test_a_text_that_is_cut_off_within_a_string_keeps_all_of_it() -> None:
    long = '["' + "two words, " * SHOWN + '"]'

    shown = pretty(long).unescape()

    assert "two words, two words, two words" in shown
    assert shown.count("two words") == long[:SHOWN].count("two words")


def test_many_quotes_in_a_string_that_is_cut_off_take_no_longer_than_others() -> None:
    quotes = '"' + r"\"" * SHOWN

    began = time.process_time()
    pretty(quotes)

    assert time.process_time() - began < 1


def test_moments_runs_and_events_of_a_reason_are_told_as_such() -> None:
    run_id, event_id = "01J00000000000000000000001", "01J00000000000000000000002"
    reason = Reason(
        "slot",
        f'step "<b>" waits for run {run_id}, and not for {event_id} before 2026-11-21T12:00:00.000Z',
        until=AT,
        details={"run_ids": [run_id], "last": [{"id": event_id}]},
    )

    text = told(reason)

    assert f'<a class="mono" href="/runs/{run_id}">{run_id}</a>' in text
    assert f'<a class="mono" href="/events/{event_id}">{event_id}</a>' in text
    assert '<time datetime="2026-11-21T12:00:00.000Z"' in text
    assert "Step &#34;&lt;b&gt;&#34; waits" in text


def test_a_moment_in_a_reason_that_somebody_wrote_stays_as_it_was_written() -> None:
    reason = Reason("event", 'where async.data.at == "2026-01-01T00:00:00.000Z"', until=AT)

    assert "<time" not in told(reason)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r'"p\u00e1gina"', '"página"'),
        (r'"\ud83d\ude00 \u4e2d"', '"😀 中"'),
        (r'"a\\u00e1"', r'"a\\u00e1"'),
        (r'"\u0022\u005c\u0000\u202e\ud800\n"', r'"\u0022\u005c\u0000\u202e\ud800\n"'),
    ],
)
def test_letters_that_were_written_by_number_can_be_read_and_nothing_else_changes(written: str, read: str) -> None:
    assert read == pretty(written).striptags().replace("&#34;", '"')
    assert read == glance(event(f'{{"data":{written}'), 100)


def event(payload: str, external_id: str | None = None) -> EventRow:
    return EventRow("01J", "shop/sold", external_id, 0, payload, AT, None, 0)


def test_of_an_event_its_data_is_seen_at_a_glance() -> None:
    assert '{"n":1}' == glance(event('{"data":{"n":1},"id":"01J","name":"shop/sold"}'), 100)
    assert '{"n":1,"id":"x"}' == glance(event('{"data":{"n":1,"id":"x"},"id":"mine"}', "mine"), 100)
    assert '{"n"' == glance(event('{"data":{"n":1},"id":"01J"}'), 4)
    assert '{"id"' == glance(event('{"id":"x"}'), 5)
