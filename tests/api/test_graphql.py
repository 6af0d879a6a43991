"""GraphQL as a way of asking: bodies, limits, credentials, the page."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from flask import Request
from flask.testing import FlaskClient
from graphql import GraphQLObjectType, build_schema, get_introspection_query, parse

from orchestrator.api.access import Credential
from orchestrator.api.app import create_app
from orchestrator.api.graphql import limits
from orchestrator.api.graphql.documents import Documents
from orchestrator.api.graphql.limits import check_cost
from orchestrator.api.graphql.operation import machine
from orchestrator.core.effect import Status
from orchestrator.core.scope import Scope
from orchestrator.errors import UnauthorizedError
from tests.api.asking import answered, data, refused

if TYPE_CHECKING:
    from tests.api.conftest import World

RUNS = '{runs(first: %d, filter: {from: "2026-01-01T00:00:00Z"}, orderBy: []) {edges {node {%s}}}}'


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "Request body is not valid JSON"),
        (b"{", "Request body is not valid JSON"),
        (b"[" * 5_000, "Request body is not valid JSON"),
        (b"7", "Request body must be a JSON object"),
        (b'[{"query":"{__typename}"}]', "send one operation in each request"),
        (b"{}", "query must be a string"),
        (b'{"query":7}', "query must be a string"),
        (b'{"query":"{__typename}","variables":[]}', "variables must be an object"),
        (b'{"query":"{__typename}","operationName":[]}', "operationName must be a string"),
        (b'{"query":"{__typename}","variables":{"a":"\\u0000"}}', "zero byte"),
        (rb'{"query":"{functionBySlug(query: {functionSlug: \"\\u0000\"}) {id}}"}', "zero byte"),
        (rb'{"query":"{functionBySlug(query: {functionSlug: \"\\u{0}\"}) {id}}"}', "zero byte"),
    ],
)
def test_a_bad_body_is_a_400_with_a_sentence(client: FlaskClient, body: bytes, sentence: str) -> None:
    answer = client.post("/v0/gql", data=body, content_type="application/json")

    assert 400 == answer.status_code
    assert sentence in answer.get_json()["error"]


def test_variables_may_be_nested_as_deep_as_json_may(client: FlaskClient) -> None:
    deep = b"[" * 1_000 + b'"fried"' + b"]" * 1_000

    answer = client.post(
        "/v0/gql", data=b'{"query":"{__typename}","variables":{"a":' + deep + b"}}", content_type="application/json"
    )

    assert (200, {"data": {"__typename": "Query"}}) == (answer.status_code, answer.get_json())


def test_a_body_of_more_than_a_megabyte_is_refused(client: FlaskClient) -> None:
    answer = client.post("/v0/gql", json={"query": "{__typename}" + " " * 1024 * 1024})

    assert (413, "too_large") == (answer.status_code, answer.get_json()["code"])


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("", "Syntax Error"),
        ("{", "Syntax Error"),
        ("{nothing}", "Cannot query field 'nothing'"),
        ("{apps}", "must have a selection of subfields"),
        ("query A {__typename} query B {__typename}", "operationName must say which one is meant"),
        ('{runs(filter: {from: "yesterday"}, orderBy: []) {totalCount}}', "Time must be a moment"),
        ('{run(runID: "7") {id}}', "runID must be a ULID"),
        ('{app(id: "7") {id}}', "UUID must be such as"),
        (RUNS % (0, "id"), "first must be from 1 to 100, not 0"),
        (RUNS % (101, "id"), "first must be from 1 to 100, not 101"),
        ('{runs(after: "x", filter: {from: "2026-01-01T00:00:00Z"}, orderBy: []) {totalCount}}', "cursor"),
        ('{runs(filter: {from: "2026-01-01T00:00:00Z", query: "event."}, orderBy: []) {totalCount}}', "event."),
        ("subscription {apps {id}}", "is not supported by the schema"),
    ],
)
def test_what_is_wrong_with_a_query_is_said_in_its_errors(client: FlaskClient, query: str, sentence: str) -> None:
    errors = answered(client, query)["errors"]

    assert any(sentence in error["message"] for error in errors), errors


def test_an_operation_is_chosen_by_name(client: FlaskClient) -> None:
    body = {"query": "query A {a: __typename} query B {b: __typename}", "operationName": "B"}

    assert {"data": {"b": "Query"}} == client.post("/v0/gql", json=body).get_json()
    assert "no operation" in client.post("/v0/gql", json=body | {"operationName": "C"}).get_data(as_text=True)


def test_the_schema_can_be_asked_for(client: FlaskClient) -> None:
    schema = data(client, get_introspection_query(descriptions=True, specified_by_url=True))["__schema"]

    assert "FunctionRunV2" in {it["name"] for it in schema["types"]}


def nested(depth: int) -> str:
    return "{run(runID: $r) {trace " + "{childrenSpans " * depth + "{name}" + "}" * depth + "}}"


TOO_MUCH = [
    ('query ($r: String = "") ' + nested(30), "selections within selections, the limit is 20"),
    ('query ($r: String = "") ' + nested(90), "brackets within brackets"),
    ("{" + " ".join(f"a{n}: __typename" for n in range(31)) + "}", "31 fields at its top, the limit is 30"),
    (RUNS % (100, "trace {childrenSpans {childrenSpans {childrenSpans {name}}}}"), "the limit is 25000"),
    ("{" + " ".join(f"a{n}: __typename" for n in range(900)) + "}", "tokens"),
    ("{apps {" + "id " * 151 + "}}", "151 selections in one place, the limit is 150"),
    ("{__schema {types {fields {type {fields {type {fields {name}}}}}}}}", "introspection"),
    (
        "{__schema {types {" + " ".join(f"a{n}: fields {{args {{name type {{name}}}}}}" for n in range(40)) + "}}}",
        "80000",
    ),
    (
        "{...F0} "
        + " ".join(f"fragment F{n} on Query {{...F{n + 1} ...F{n + 1}}}" for n in range(40))
        + " fragment F40 on Query {apps {id}}",
        "fields at its top",
    ),
]


@pytest.mark.parametrize(("query", "sentence"), TOO_MUCH)
def test_what_asks_for_too_much_is_refused_before_anything_is_read(
    client: FlaskClient, query: str, sentence: str
) -> None:
    errors = answered(client, query)["errors"]

    assert any(sentence.lower() in error["message"].lower() for error in errors), errors


def test_a_number_of_items_in_a_variable_counts(client: FlaskClient) -> None:
    query = (
        'query ($n: Int!) {runs(first: $n, filter: {from: "2026-01-01T00:00:00Z"}, orderBy: [])'
        " {edges {node {trace {childrenSpans {name status childrenSpans {name}}}}}}}"
    )

    assert "errors" not in answered(client, query, n=10)
    assert "the limit is 25000" in refused(client, query, n=100)
    stream = "query ($n: Int!) {stream(query: {limit: $n}) {id runs {events {functionRuns {id status eventID}}}}}"
    assert "errors" not in answered(client, stream, n=20)
    assert "the limit is 25000" in refused(client, stream, n=100)


def test_an_answer_that_grows_too_long_is_cut_off(
    client: FlaskClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.app(slugs=["shop-bill", "shop-ship", "shop-tell"])
    monkeypatch.setattr("orchestrator.api.graphql.context.MOST_ITEMS", 2)

    assert "more than 2 items in its lists" in refused(client, "{functions {id}}")


def test_what_has_a_weight_or_a_size_is_a_field_of_the_schema() -> None:
    named = {*limits.SIZES, *limits.WEIGHTS}

    unknown = {it for it in named if it.partition(".")[2] not in fields_of(it.partition(".")[0])}

    assert set() == unknown


def fields_of(type_name: str) -> set[str]:
    found = machine().schema.type_map[type_name]
    assert isinstance(found, GraphQLObjectType)
    return {*found.fields}


def test_documents_are_parsed_once_and_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.api.graphql.documents._MOST", 3)
    documents = Documents(machine().schema)
    first = documents.get("{a: __typename}")

    assert documents.get("{a: __typename}") is first
    for name in "bcd":
        documents.get(f"{{{name}: __typename}}")
    assert 3 == len(documents)
    assert documents.get("{a: __typename}") is not first


def test_documents_that_are_kept_are_bounded_in_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.api.graphql.documents._MOST_TEXT", 100)
    documents = Documents(machine().schema)

    for name in "abcdef":
        documents.get(f"{{{name}: __typename}}" + " " * 40)

    assert 1 == len(documents)


def only(*scopes: Scope) -> object:
    def authorize(request: Request) -> Credential:
        if request.headers.get("Authorization") != "Bearer right":
            raise UnauthorizedError
        return Credential("ci", frozenset(scopes))

    return authorize


MUTATIONS = [
    ('createApp(input: {url: "http://127.0.0.1:1/"}) {id}', "apps"),
    ('updateApp(input: {id: "7", url: "http://127.0.0.1:1/"}) {id}', "apps"),
    ('deleteApp(id: "7")', "apps"),
    ('deleteAppByName(name: "shop")', "apps"),
    ('invokeFunction(functionSlug: "shop-bill")', "write"),
    ('cancelRun(runID: "01J00000000000000000000000") {id}', "write"),
    ('rerun(runID: "01J00000000000000000000000")', "write"),
]


@pytest.mark.parametrize(("mutation", "scope"), MUTATIONS)
def test_a_mutation_asks_for_its_scope(world: World, mutation: str, scope: str) -> None:
    reader = create_app(world.parts, authorize=only(Scope.READ)).test_client()  # type: ignore[arg-type]

    answer = reader.post(
        "/v0/gql", json={"query": f"mutation {{{mutation}}}"}, headers={"Authorization": "Bearer right"}
    )

    assert (200, f"ci may not do this: it needs the scope {scope}") == (
        answer.status_code,
        answer.get_json()["errors"][0]["message"],
    )


def test_every_mutation_that_does_something_asks_for_a_scope() -> None:
    mutation = machine().schema.mutation_type
    assert mutation is not None

    assert {*mutation.fields} - {"createDebugSession"} == {it.partition("(")[0] for it, _ in MUTATIONS}


def test_nobody_asks_without_a_token_where_one_is_needed(world: World) -> None:
    guarded = create_app(world.parts, authorize=only(Scope.READ)).test_client()  # type: ignore[arg-type]
    writer = create_app(world.parts, authorize=only(Scope.WRITE)).test_client()  # type: ignore[arg-type]
    body, right = {"query": "{apps {id}}"}, {"Authorization": "Bearer right"}

    assert 401 == guarded.post("/v0/gql", json=body).status_code
    assert 403 == writer.post("/v0/gql", json=body, headers=right).status_code
    assert {"data": {"apps": []}} == guarded.post("/v0/gql", json=body, headers=right).get_json()


def test_the_page_is_open_and_asks_nobody_else_for_anything(world: World) -> None:
    guarded = create_app(world.parts, authorize=only()).test_client()  # type: ignore[arg-type]

    page = guarded.get("/v0")
    parts = [guarded.get(f"/v0/playground/{name}") for name in ("page.js", "page.css")]

    assert [200, 200, 200] == [it.status_code for it in (page, *parts)]
    assert ["text/html", "text/javascript", "text/css"] == [it.mimetype for it in (page, *parts)]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in page.headers["Content-Security-Policy"]
    assert "http" not in page.get_data(as_text=True)
    assert " style=" not in page.get_data(as_text=True)
    assert 404 == guarded.get("/v0/playground/routes.py").status_code


def test_a_fault_of_ours_is_told_as_such_and_no_more(
    client: FlaskClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = world.event()
    run_id = world.finished(event, Status.COMPLETED, output="1")
    world.parts.database.close()
    with world.parts.database.write() as conn:
        conn.exec_driver_sql("ALTER TABLE apps RENAME TO gone")

    told = answered(client, "query ($id: String!) {run(runID: $id) {id}}", id=run_id)

    assert "gone" not in json.dumps(told)
    assert ["internal"] == [error["extensions"]["code"] for error in told["errors"]]


def test_a_server_that_nobody_asks_has_not_loaded_graphql() -> None:
    code = "import sys, orchestrator.api.app, orchestrator.api.front, orchestrator.cli.embedded\nprint(*sys.modules)"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert set() == set(printed.split()) & {"graphql", "ariadne", "starlette", "anyio"}


def test_not_every_fault_of_the_variables_is_put_into_words() -> None:
    told = list[object]()

    class Strange:
        """What GraphQL asks for the words to name it by."""

        def __inspect__(self) -> str:
            told.append(self)
            return "strange"

    schema = build_schema("type Query {sum(of: [Int!]): Int}")
    document, variables = parse("query q($of: [Int!]) {sum(of: $of)}"), {"of": [Strange()] * 10_000}

    check_cost(schema, document, document.definitions[0], variables)  # type: ignore[arg-type]

    assert len(told) <= 5
