"""Whatever is asked of GraphQL, well formed or not: an answer in time, with no fault of ours in it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.api.app import create_app
from orchestrator.api.graphql.operation import machine
from orchestrator.clock import SettableClock
from orchestrator.core.effect import SaveStep, Status, StepStatus
from orchestrator.engine.parts import Parts
from orchestrator.ids import named_uuid
from orchestrator.queue.lease import Holdings
from orchestrator.store.database import Database
from orchestrator.store.presence import Presence
from tests.api.asking import STEP, data, declare
from tests.api.conftest import NOW, NoApps, NobodyListens, World

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

#: More of them where somebody has the time.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
#: A machine may be busy; what hangs takes longer than this.
DEADLINE = 20.0
UNHURRIED = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
DEEP = 5
SLUGS = ["shop-bill", "shop-ship"]


@pytest.fixture(scope="module")
def known(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FlaskClient, list[str]]]:
    """A server that has a bit of everything, and the ids of that."""
    path = tmp_path_factory.mktemp("fuzz") / "test.db"
    shutil.copy(empty_database, path)
    database = Database(f"sqlite:///{path}", synchronous="OFF")
    clock, apps = SettableClock(NOW), NoApps()
    world = World(Parts(database, clock, NobodyListens(), Holdings(database, Presence(database)), apps, apps), clock)
    declare(world, *({"id": it, "name": it, "triggers": [{"event": "shop/sold"}], "steps": STEP} for it in SLUGS))
    event = world.event(data='{"n":1}')
    tick = world.event("inngest/scheduled.timer", data='{"cron":"* * * * *"}')
    run_id = world.run(event)
    failed_id = world.finished(tick, Status.FAILED, error='{"message":"no"}')
    world.steps(run_id, *(SaveStep(it, "step", "StepRun", StepStatus.COMPLETED, memo='{"data":1}') for it in "abc"))
    client = create_app(world.parts).test_client()
    trace = f'{{run(runID: "{run_id}") {{trace {{childrenSpans {{outputID}}}}}}}}'
    [first, *_] = data(client, trace)["run"]["trace"]["childrenSpans"]
    yield (
        client,
        [event.id, tick.id, run_id, failed_id, named_uuid("app", "shop"), first["outputID"], "shop-bill", "shop"],
    )
    database.close()


def texts(ids: list[str]) -> SearchStrategy[str]:
    odd = ["", "x", "\x00", "é😀", "a" * 5000, "local", "event.data.n == 1", "output.x > 1", "event.", "true", "'"]
    return st.sampled_from(ids) | st.sampled_from([*ids, *odd]) | st.text(max_size=8)


_MOMENTS = [
    *("2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999+14:00"),
    *("2026-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "yesterday", ""),
]


def scalar(name: str, ids: list[str]) -> SearchStrategy[Any]:
    ulids, uuids = [it for it in ids if len(it) == 26], [it for it in ids if len(it) == 36]
    values: dict[str, SearchStrategy[Any]] = {
        "ULID": st.sampled_from(ulids),
        "UUID": st.sampled_from(uuids),
        "Int": st.sampled_from([1, 20, 100, 101, 0, -1, 2**31 - 1, 2**31, 10**30]),
        "Boolean": st.booleans(),
        "Time": st.sampled_from(_MOMENTS),
        "Map": st.dictionaries(st.sampled_from("ab"), st.integers() | st.floats() | st.text(max_size=3), max_size=2),
    }
    return values.get(name, texts(ids))


def literal(value: Any) -> str:
    """A value as GraphQL writes it."""
    if isinstance(value, dict):
        return "{" + " ".join(f"{name}: {literal(it)}" for name, it in value.items()) + "}"
    if isinstance(value, list):
        return "[" + " ".join(map(literal, value)) + "]"
    if isinstance(value, _Word):
        return value.text
    return json.dumps(value)


class _Word:
    """A word of the schema."""

    def __init__(self, text: str) -> None:
        self.text = text


@st.composite
def inputs(draw: DrawFn, kind: Any, ids: list[str]) -> Any:
    """A value of an input type, now and then one that does not fit."""
    if draw(st.integers(0, 40)) == 40:
        return draw(st.sampled_from([None, 7, "odd", [], {}, [[]], True, 1.5]))
    if isinstance(kind, GraphQLNonNull):
        return draw(inputs(kind.of_type, ids))
    if isinstance(kind, GraphQLList):
        return draw(st.lists(inputs(kind.of_type, ids), max_size=3))
    if isinstance(kind, GraphQLEnumType):
        return _Word(draw(st.sampled_from(sorted(kind.values))))
    if isinstance(kind, GraphQLInputObjectType):
        wanted = [it for it in kind.fields.items() if is_required_input_field(it[1]) or draw(st.booleans())]
        return {name: draw(inputs(field.type, ids)) for name, field in wanted}
    return draw(scalar(kind.name, ids))


@st.composite
def arguments(draw: DrawFn, given_by: dict[str, GraphQLArgument], ids: list[str]) -> str:
    wanted = [it for it in given_by.items() if is_required_argument(it[1]) or draw(st.integers(0, 2)) == 0]
    told = [f"{name}: {literal(draw(inputs(argument.type, ids)))}" for name, argument in wanted]
    return f"({', '.join(told)})" if told else ""


@st.composite
def selections(draw: DrawFn, schema: GraphQLSchema, kind: Any, ids: list[str], depth: int) -> str:
    """Fields of a type, those below some of them included."""
    if isinstance(kind, GraphQLUnionType):
        chosen = draw(st.sampled_from(kind.types))
        return f"{{__typename ... on {chosen.name} {draw(selections(schema, chosen, ids, depth))}}}"
    assert isinstance(kind, GraphQLObjectType)
    names = draw(st.lists(st.sampled_from(sorted(kind.fields)), min_size=1, max_size=4, unique=True))
    told = [draw(selected(schema, name, kind.fields[name], ids, depth)) for name in names]
    return "{" + " ".join(it for it in told if it) + " __typename}"


@st.composite
def selected(draw: DrawFn, schema: GraphQLSchema, name: str, field: GraphQLField, ids: list[str], depth: int) -> str:
    below = get_named_type(field.type)
    if is_leaf_type(below):
        return f"{name}{draw(arguments(field.args, ids))}"
    if not depth:
        return ""
    alias = draw(st.sampled_from(["", "", "", f"a{depth}_{name}: "]))
    return f"{alias}{name}{draw(arguments(field.args, ids))} {draw(selections(schema, below, ids, depth - 1))}"


def check(client: FlaskClient, body: bytes) -> None:
    began = time.monotonic()
    answer = client.post("/v0/gql", data=body, content_type="application/json")

    assert answer.status_code in (200, 400), (answer.status_code, answer.get_data(as_text=True), body)
    told = answer.get_json()
    assert "internal" not in {it.get("extensions", {}).get("code") for it in told.get("errors", [])}, body
    assert time.monotonic() - began < DEADLINE, body


@UNHURRIED
@given(st.data())
def test_generated_queries_are_answered(known: tuple[FlaskClient, list[str]], drawn: st.DataObject) -> None:
    client, ids = known
    schema = machine().schema

    text = drawn.draw(selections(schema, schema.query_type, ids, drawn.draw(st.integers(1, DEEP))))

    check(client, json.dumps({"query": text}).encode())


@settings(UNHURRIED, max_examples=EXAMPLES // 3)
@given(st.data())
def test_generated_mutations_are_answered(known: tuple[FlaskClient, list[str]], drawn: st.DataObject) -> None:
    client, ids = known
    schema = machine().schema
    assert schema.mutation_type is not None
    # To make an app is to call it, and nothing is called here.
    names = sorted(schema.mutation_type.fields.keys() - {"createApp", "updateApp"})
    name = drawn.draw(st.sampled_from(names))

    text = drawn.draw(selected(schema, name, schema.mutation_type.fields[name], ids, 3))

    check(client, json.dumps({"query": f"mutation {{{text or '__typename'}}}"}).encode())


_TOKENS = [
    *("query", "mutation", "fragment F on Query", "...F", "... on Run", "on", "{", "}", "(", ")", "[", "]", ":", "$a"),
    *(
        "!",
        "=",
        "@skip(if: true)",
        "@include(if: $a)",
        "runs",
        "run",
        "apps",
        "id",
        "__schema",
        "types",
        "fields",
        "type",
    ),
    *('"a"', '"""b"""', '"', '"""', "#", "1", "-1", "1e999", "null", "true", "é", "\\u0000", "\ufeff", "&", "|", "A"),
]


@settings(UNHURRIED, max_examples=EXAMPLES * 2)
@given(
    st.lists(st.sampled_from(_TOKENS), max_size=40).map(" ".join) | st.text(max_size=40),
    st.none() | st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2) | st.integers(),
)
def test_heaps_of_tokens_are_answered(known: tuple[FlaskClient, list[str]], text: str, variables: object) -> None:
    check(known[0], json.dumps({"query": text, "variables": variables}).encode())


@settings(UNHURRIED, max_examples=EXAMPLES)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,query\\u0d8\n', max_size=40).map(str.encode))
def test_any_bytes_are_answered(known: tuple[FlaskClient, list[str]], body: bytes) -> None:
    check(known[0], body)


HARD = [
    "{" + "a" * 100_000 + "}",
    "{apps" * 900,
    "{" * 60 + "}" * 60,
    "[" * 50_000,
    '{app(id: "' + "\\" * 50_001 + '") {id}}',
    "#" * 500_000,
    '"""' * 100_000,
    "{" + " ".join(["apps {id name url}"] * 350) + "}",
    "{apps {" + " ".join(["id"] * 1_900) + "}}",
    "{" + "...F0 " * 250 + "}" + "".join(f"fragment F{n} on Query {{apps {{id}} ...F{n + 1}}}" for n in range(150)),
    "{...F0}"
    + "".join(f"fragment F{n} on Query {{...F{n + 1}}}" for n in range(270))
    + "fragment F270 on Query {a: id}",
    "{...A} fragment A on Query {...B} fragment B on Query {...A}",
    "query (" + " ".join(f"$a{n}: Int = {n}" for n in range(300)) + ") {__typename}",
    "{invoke: __typename @" + " @".join(["skip(if: false)"] * 300) + "}",
    'mutation {invokeFunction(functionSlug: "x", data: ' + "{a: " * 50 + "1" + "}" * 50 + ")}",
]


@pytest.mark.parametrize("query", HARD, ids=range(len(HARD)))
def test_what_is_hard_to_look_at_is_answered_soon(known: tuple[FlaskClient, list[str]], query: str) -> None:
    check(known[0], json.dumps({"query": query}).encode())
