"""Seeds and forms: ids that a sender decides, and events that a browser's form makes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.protocol.events import form_event, seeded_ids
from tests.protocol.event_bodies import ENTROPY, parse


def seed(moment: object, entropy: bytes = ENTROPY) -> str:
    return f"{moment},{base64.b64encode(entropy).decode()}"


# --- what is taken


def test_a_seed_gives_the_ids_of_its_moment_and_entropy_counted_up() -> None:
    id_at = seeded_ids(seed(1_700_000_000_000))

    assert id_at is not None
    assert ["01HF7YAT00000G40R40M30E20A", "01HF7YAT00000G40R40M30E20B"] == [id_at(1), id_at(2)]


def test_the_same_seed_gives_the_same_ids() -> None:
    first, second = seeded_ids(seed(1)), seeded_ids(seed(1))

    assert first is not None
    assert second is not None
    assert [first(n) for n in range(1, 4)] == [second(n) for n in range(1, 4)]


def test_the_count_of_a_seed_wraps_within_its_last_four_bytes() -> None:
    id_at = seeded_ids(seed(1, bytes(6) + b"\xff" * 4))
    zero = seeded_ids(seed(1, bytes(10)))

    assert id_at is not None
    assert zero is not None
    assert (zero(0), zero(1)) == (id_at(1), id_at(2))


def test_the_largest_moment_of_a_ulid_is_a_good_seed() -> None:
    id_at = seeded_ids(seed((1 << 48) - 1))

    assert id_at is not None
    assert id_at(1).startswith("7ZZZZZZZZZ")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        ",",
        "1700000000000",
        "1700000000000,",
        "x," + base64.b64encode(ENTROPY).decode(),
        seed("-1"),
        seed("1.5"),
        seed("1_000"),
        seed("\u0663"),
        seed(" 1"),
        seed(1 << 48),
        seed("9" * 400),
        seed(1, bytes(9)),
        seed(1, bytes(11)),
        "1,%%%%",
        "1,é",
        seed(1) + "!",
        seed(1) + "\n",
    ],
)
def test_a_malformed_seed_is_no_seed(header: str | None) -> None:
    assert seeded_ids(header) is None


@given(st.text())
def test_no_header_makes_the_seed_raise(header: str) -> None:
    seeded_ids(header)


# --- forms


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("name", "a")], {"name": "a", "data": {}}),
        ([("event", "a"), ("x", "1")], {"name": "a", "data": {"x": "1"}}),
        ([("name", "a"), ("event", "b")], {"name": "a", "data": {"event": "b"}}),
        ([("name", "a"), ("data", '{"x":1}'), ("y", "2")], {"name": "a", "data": {"x": 1, "y": "2"}}),
        ([("name", "a"), ("data", '{"x":1}'), ("x", "2")], {"name": "a", "data": {"x": "2"}}),
        ([("name", "a"), ("data", "plain")], {"name": "a", "data": {"data": "plain"}}),
        ([("name", "a"), ("data", "[1]")], {"name": "a", "data": {"data": "[1]"}}),
        ([("name", "a"), ("data.x", "1"), ("data[y]", "2")], {"name": "a", "data": {"x": "1", "y": "2"}}),
        ([("name", "a"), ("tag", "1"), ("tag", "2")], {"name": "a", "data": {"tag": ["1", "2"]}}),
        (
            [("name", "a"), ("id", "i"), ("ts", "17"), ("v", "1")],
            {"id": "i", "ts": 17, "v": "1", "name": "a", "data": {}},
        ),
        ([("name", "a"), ("ts", "soon")], {"ts": "soon", "name": "a", "data": {}}),
        ([], {"name": None, "data": {}}),
    ],
)
def test_a_form_is_one_event(fields: list[tuple[str, str]], expected: dict[str, Any]) -> None:
    assert expected == json.loads(form_event(fields))


def test_integers_in_the_data_of_a_form_keep_their_digits() -> None:
    fields = [("name", "a"), ("data", '{"n":123456789012345678901}'), ("x", "y")]

    assert '{"n":123456789012345678901,"x":"y"}' == parse(form_event(fields)).events[0].data


@given(st.lists(st.tuples(st.sampled_from(["name", "data", "ts", "data.x", "data[]"]) | st.text(), st.text())))
def test_no_form_makes_the_parser_raise(fields: list[tuple[str, str]]) -> None:
    parsed = parse(form_event(fields))

    assert 1 == len(parsed.events) + (parsed.error is not None)
