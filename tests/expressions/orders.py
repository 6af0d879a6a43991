"""An order and what might be its answer: what expressions are evaluated against."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

EVENT: dict[str, Any] = {
    "name": "shop/order.paid",
    "id": "01J",
    "ts": 1_700_000_000_000,
    "data": {
        "userId": "u1",
        "amount": 120,
        "price": 9.5,
        "whole": 5.0,
        "plan": "free",
        "active": True,
        "off": False,
        "nothing": None,
        "empty": "",
        "zero": 0,
        "list": [1, 2, 3],
        "tags": ["vip", "eu"],
        "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}],
        "map": {"k": "v", "odd key": 1},
        "none": [],
        "mail": "ann@example.com",
        "at": "2024-02-29T12:30:00Z",
        "big": 9007199254740993,
        "json": '{"a":[1,{"b":true}]}',
    },
}
CANDIDATE: dict[str, Any] = {"data": {"userId": "u1", "amount": 120.0, "flag": True}}
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
