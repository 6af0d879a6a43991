"""Bodies that are no JSON, or JSON that not every reader takes, are refused by 400 wherever they are sent."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.api.conftest import World

RUN = "01J00000000000000000000000"
ROUTES = [
    ("POST", "/v1/signals"),
    ("POST", "/v1/bulk"),
    ("POST", "/v1/cancellations"),
    ("POST", "/v1/tokens"),
    ("PATCH", "/v1/functions/shop-bill"),
    ("POST", f"/v1/runs/{RUN}/rerun"),
    ("POST", f"/v2/runs/{RUN}/rerun"),
    ("POST", "/v2/apps/shop/syncs"),
    ("POST", "/v2/apps/shop/functions/bill/invoke"),
    ("POST", "/invoke/shop-bill"),
    ("POST", "/v0/gql"),
    ("POST", "/v1/checkpoint"),
    ("POST", f"/v1/checkpoint/{RUN}/steps"),
    ("POST", f"/v1/checkpoint/{RUN}/async"),
]
BODIES = {
    "nothing that ends": b"[" * 100_000,
    "too deep": b"[" * 1_010 + b"]" * 1_010,
    "too deep inside": b'{"x":' + b"[" * 1_010 + b"]" * 1_010 + b"}",
    "a very long number": b"1" * 5_000,
    "a very long number inside": b'{"x":' + b"1" * 5_000 + b"}",
    "no UTF-8": b'{"x":"\xff"}',
    "half a character": b'{"\\ud800":"\\ud800"}',
    "no number": b'{"x":NaN}',
}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_they_are_refused(client: FlaskClient, world: World, method: str, path: str) -> None:
    world.app(slugs=["shop-bill"])

    answers = {
        name: client.open(path, method=method, data=body, content_type="application/json")
        for name, body in BODIES.items()
    }

    assert dict.fromkeys(BODIES, 400) == {name: answer.status_code for name, answer in answers.items()}


def test_no_depth_is_too_much_for_us(client: FlaskClient) -> None:
    told = set[int]()

    for depth in range(900, 1_030):
        deep = b"[" * depth + b"]" * depth
        for path, body in [
            (f"/v1/runs/{RUN}/rerun", b'{"from_step":{"step_id":"a","input":[' + deep + b"]}}"),
            (f"/v2/runs/{RUN}/rerun", b'{"fromStep":{"stepId":"a","input":[' + deep + b"]}}"),
            ("/v0/gql", b'{"query":"{__typename}","variables":{"x":' + deep + b"}}"),
        ]:
            told.add(client.post(path, data=body, content_type="application/json").status_code)

    assert {200, 400, 404} == told


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/bulk", {"kind": "cancel", "filter": {"app": [7] * 1_000}}),
        ("/v1/bulk", {"kind": "cancel", "filter": {"status": ["fried"] * 1_000}}),
        ("/v1/tokens", {"name": "pan", "scopes": ["fried"] * 1_000}),
    ],
)
def test_a_list_that_is_too_long_is_refused_by_that_alone(client: FlaskClient, path: str, body: object) -> None:
    answer = client.post(path, json=body)

    assert 400 == answer.status_code
    assert len(answer.get_json()["error"]) < 200
