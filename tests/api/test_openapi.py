"""The OpenAPI document says what is served."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient

from orchestrator.api.app import create_app
from orchestrator.core.effect import SaveStep, Status, StepStatus

if TYPE_CHECKING:
    from tests.api.conftest import World


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    answer = client.get("/openapi.json")
    assert "application/json" == answer.mimetype
    said: dict[str, Any] = answer.get_json()
    return said


def test_every_route_is_documented(world: World, document: dict[str, Any]) -> None:
    rules = create_app(world.parts).url_map.iter_rules()
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in rules
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }

    documented = {
        (path, method) for path, item in document["paths"].items() for method in item if method != "parameters"
    }

    in_front = {("/e/{event_key}", "post")} | {
        (f"/v1/{way}/{{run_id}}/output", "get") for way in ("http/runs", "checkpoint")
    }
    assert served - {("/openapi.json", "get")} | in_front == documented


def test_the_document_is_of_openapi_3_1_and_loads_nothing_from_elsewhere(document: dict[str, Any]) -> None:
    assert "3.1.0" == document["openapi"]
    assert "://" not in str(document)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r"'\$ref': '#/components/(\w+)/(\w+)'", str(document)))

    assert references
    assert set() == {(kind, name) for kind, name in references if name not in document["components"][kind]}


def test_every_operation_says_what_it_does_and_how_it_answers(document: dict[str, Any]) -> None:
    operations = [op for item in document["paths"].values() for key, op in item.items() if key != "parameters"]

    assert [] == [op for op in operations if not op.get("summary")]
    assert [] == [op["summary"] for op in operations if not any(it[0] == "2" or it == "501" for it in op["responses"])]
    assert [] == [op["summary"] for op in operations if "422" in op["responses"]]


def test_a_credential_is_asked_for_only_where_there_is_one(world: World, document: dict[str, Any]) -> None:
    guarded = create_app(world.parts, authorize=lambda request: None).test_client().get("/openapi.json").get_json()

    assert "security" not in document
    assert [{"bearer": []}] == guarded["security"]
    assert {"type": "http", "scheme": "bearer"} == guarded["components"]["securitySchemes"]["bearer"]
    assert [] == guarded["paths"]["/health"]["get"]["security"]


def test_a_run_is_shown_as_documented(world: World, client: FlaskClient, document: dict[str, Any]) -> None:
    run_id = world.run(world.event(), status=Status.RUNNING)
    world.steps(run_id, SaveStep("a", "rest", "Sleep", StepStatus.SLEEPING, wake_at=world.clock.now()))
    schemas = document["components"]["schemas"]

    run = client.get(f"/v1/runs/{run_id}").get_json()["data"]

    assert set(schemas["RunDetailShape"]["properties"]) == set(run)
    assert set(schemas["StepShape"]["properties"]) == set(run["steps"][0])


def test_an_event_is_shown_as_documented(world: World, client: FlaskClient, document: dict[str, Any]) -> None:
    event = world.event(external_id="order-1", user='{"id":1}', v="2", meta='{"sessions":{}}')

    shown = client.get(f"/v1/events/{event.id}").get_json()["data"]

    assert set(document["components"]["schemas"]["EventShape"]["properties"]) - {"warning"} == set(shown)


def test_the_document_knows_every_status_that_a_step_can_have(document: dict[str, Any]) -> None:
    documented = re.findall(r"'enum': \[('Planned'[^\]]*)\]", str(document))

    assert {str([status.value.capitalize() for status in StepStatus])[1:-1]} == set(documented)
