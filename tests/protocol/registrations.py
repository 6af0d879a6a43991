"""How tests register: the least that an SDK may send, and what was made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.core.function import Function
from orchestrator.errors import RequestError
from orchestrator.protocol.sync import Registration, parse_registration

STEP = {"id": "step", "name": "step", "runtime": {"type": "http", "url": "http://a:1/api?fnId=shop-f&stepId=step"}}
MINIMAL = {"id": "shop-f", "name": "F", "triggers": [{"event": "shop/order"}], "steps": {"step": STEP}}


def register(*functions: Any, headers: Mapping[str, str] | None = None, **changes: Any) -> Registration:
    content = {"appName": "shop", "url": "http://a:1/api", "sdk": "js:v4.24.0", "functions": list(functions), **changes}
    return parse_registration(json.dumps(content).encode(), headers or {})


def read(**config: Any) -> Function:
    return register({**MINIMAL, **config}).functions[0]


def refusal(*functions: Any, **changes: Any) -> str:
    with pytest.raises(RequestError) as raised:
        register(*functions, **changes)
    return raised.value.message


# The app.
