"""What schemathesis is told: ids that exist, and where a document of JSON Schema cannot say what is acceptable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

#: Whatever fits the document is to be taken, but for what is named below.
_TAKEN = ["2xx", "3xx", "401", "403", "404", "409"]
#: Operations, and what of their requests has a grammar that JSON Schema does not know.
GRAMMARS: Mapping[str, str] = {
    "DELETE /fn/remove": "the URL of an app",
    "POST /fn/register": "the declaration of an app, as the SDKs write it",
    "PUT /fn/register": "the same",
    "POST /v0/gql": "GraphQL",
    "PATCH /v1/functions/{slug}": "one of two fields at least, and the key of a limit",
    "GET /v1/events": "CEL, and cursors",
    "GET /v1/runs": "CEL, cursors, and names with commas between",
    "POST /v1/bulk": "CEL, times in their order, and a status where runs are to be run again",
    "POST /v1/cancellations": "CEL, and times in their order",
    "POST /v1/checkpoint": "steps and an event, as the TypeScript SDK writes them",
    "POST /v1/checkpoint/{run_id}/steps": "the same",
    "POST /v1/checkpoint/{run_id}/async": "steps, as the TypeScript SDK writes them",
    "GET /v2/runs": "CEL, and cursors",
    "GET /v2/apps/{app_id}/functions/{function_id}/runs": "CEL, and cursors",
    "GET /v2/keys/events": "cursors",
    "POST /v2/apps/{app_id}/syncs": "the URL of an app",
}
#: What else tells that a request is not acceptable.
_REFUSED = ["400", "401", "403", "404", "405", "406", "409", "413", "414", "415", "422", "428", "429", "5xx"]


def config(ids: Mapping[str, str]) -> str:
    """The text of schemathesis.toml; `ids` are of things that exist, by the names of parameters in paths."""
    return "\n".join(_lines(ids))


def _lines(ids: Mapping[str, str]) -> Iterator[str]:
    yield "[parameters]"
    for name, value in ids.items():
        yield f'"path.{name}" = {json.dumps(value)}'
    yield "[checks]"
    yield f"positive_data_acceptance.expected-statuses = {json.dumps(_TAKEN)}"
    yield f"negative_data_rejection.expected-statuses = {json.dumps(_REFUSED)}"
    for operation in GRAMMARS:
        yield from _operation(operation, f"positive_data_acceptance.expected-statuses = {json.dumps([*_TAKEN, '400'])}")
    yield "[[operations]]"
    yield 'include-tag = "not served (v2)"'
    yield "[operations.checks]"
    yield 'not_a_server_error.expected-statuses = ["2xx", "4xx", "501"]'
    yield f"positive_data_acceptance.expected-statuses = {json.dumps([*_TAKEN, '501'])}"


def _operation(name: str, check: str) -> Iterator[str]:
    yield "[[operations]]"
    yield f"include-name = {json.dumps(name)}"
    yield "[operations.checks]"
    yield check
