"""Durations and moments: what people write is read exactly or refused with a sentence."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.durations import format_duration, parse_duration, parse_moment
from orchestrator.errors import RequestError, TooLargeError

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1h30m", timedelta(minutes=90)),
        ("2w3d4h", timedelta(days=17, hours=4)),
        ("1.5h", timedelta(minutes=90)),
        ("500ms", timedelta(milliseconds=500)),
        ("10s", timedelta(seconds=10)),
        ("1m", timedelta(minutes=1)),
        ("1w2d3h4m5s", timedelta(days=9, hours=3, minutes=4, seconds=5)),
        ("24h0m0s", timedelta(days=1)),
        ("0s", timedelta()),
    ],
)
def test_units_add_up(text: str, expected: timedelta) -> None:
    assert expected == parse_duration(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "10",
        "-5s",
        "+5s",
        "1h!!2m",
        "1h 2m",
        " 1h",
        "1h\n",
        "h",
        "1.h",
        ".5h",
        "1H",
        "3mm",
        "1e3s",
        "\u0661s",
        "s" * 200,
    ],
)
def test_what_is_no_duration_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(RequestError, match="is not a duration like"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9" * 90 + "w", "1000000000d"])
def test_a_duration_beyond_all_bounds_is_too_large(text: str) -> None:
    with pytest.raises(TooLargeError, match="longer than any duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(), "0s"),
        (timedelta(milliseconds=100), "100ms"),
        (timedelta(days=30), "30d"),
        (timedelta(hours=24), "1d"),
        (timedelta(minutes=90, microseconds=1500), "1h30m1ms500us"),
        (timedelta(seconds=-5), "-5s"),
    ],
)
def test_durations_are_written_as_people_write_them(duration: timedelta, expected: str) -> None:
    assert expected == format_duration(duration)


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=3660)))
def test_what_is_written_is_read_back(duration: timedelta) -> None:
    assert abs(duration - parse_duration(format_duration(duration))) <= timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", NOW + timedelta(seconds=10)),
        ("1w2d3h4m5s", NOW + timedelta(days=9, hours=3, minutes=4, seconds=5)),
        ("366d", NOW + timedelta(days=366)),
        ("2026-11-20T12:19:16.185Z", datetime(2026, 11, 20, 12, 19, 16, 185000, UTC)),
        ("2026-11-20T12:19:16.123456789Z", datetime(2026, 11, 20, 12, 19, 16, 123456, UTC)),
        ("2026-11-20t15:00:00+02:00", datetime(2026, 11, 20, 13, 0, tzinfo=UTC)),
        ("2026-11-20 12:30:00", datetime(2026, 11, 20, 12, 30, tzinfo=UTC)),
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
        ("2020-01-01", NOW),
        ("0001-01-01T00:00:00+23:59", None),
    ],
)
def test_a_moment_is_a_duration_from_now_or_a_date_but_never_past(text: str, expected: datetime | None) -> None:
    if expected is None:
        with pytest.raises(RequestError, match="neither a duration"):
            parse_moment(text, NOW)
    else:
        assert expected == parse_moment(text, NOW)


@pytest.mark.parametrize("text", ["367d", "2028-01-01", "9999-12-31T23:59:59Z", "9" * 80 + "w", "999999999d"])
def test_a_moment_too_far_ahead_is_refused_with_the_limit(text: str) -> None:
    with pytest.raises(TooLargeError, match="more than 366d ahead"):
        parse_moment(text, NOW)


def test_a_moment_beyond_the_calendar_is_refused_whatever_the_limit() -> None:
    with pytest.raises(TooLargeError):
        parse_moment("999999999d", NOW, limit=timedelta.max)


@given(st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.+\-Z]*") | st.from_regex(r"[0-9.smhdwy]+"))
def test_no_text_raises_anything_but_a_request_error(text: str) -> None:
    for read in (parse_duration, lambda given: parse_moment(given, NOW)):
        with suppress(RequestError):
            read(text)
