"""The OpenAPI document: what cannot be read off the views, and the event API, which is not served by Flask."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_smorest import Api
from werkzeug.routing import Map, Rule

from orchestrator.api.routing import UlidConverter, ulid_parameter
from orchestrator.api.schemas import ErrorShape

_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 512},
        "data": {"type": ["object", "null"]},
        "id": {"type": "string", "description": "The same id again within 24 hours starts nothing"},
        "ts": {"type": "integer", "description": "Unix milliseconds; in the future: the runs start then"},
        "user": {"type": ["object", "null"]},
        "v": {"type": "string"},
    },
}
_ACCEPTED: dict[str, Any] = {
    "type": "object",
    "required": ["ids", "status"],
    "properties": {
        "ids": {"type": "array", "items": {"type": "string"}},
        "status": {"type": "integer"},
        "error": {"type": "string"},
    },
}
_REFUSALS = {
    "400": "An event is not acceptable; `ids` has those before it, which were taken",
    "401": "The event key is missing or not known here",
    "413": "The request or an event is too large",
    "415": "The body is compressed in a way that is not understood here",
}


def make_api(app: Flask, version: str, *, guarded: bool) -> Api:
    """Serve the document at /openapi.json and return what blueprints register themselves with."""
    app.config |= {
        "API_TITLE": "Orchestrator",
        "API_VERSION": version,
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/",
        "OPENAPI_JSON_PATH": "openapi.json",
        "API_SPEC_OPTIONS": {"security": [{"bearer": []}]} if guarded else {},
    }
    app.url_map.converters["ulid"] = UlidConverter
    api = Api()
    api.ERROR_SCHEMA = ErrorShape
    api.register_converter(UlidConverter, ulid_parameter)
    api.init_app(app)
    if guarded:
        api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    _document_event_api(api)
    return api


def _document_event_api(api: Api) -> None:
    operation = {
        "summary": "Send events; the answer comes once they are stored.",
        "tags": ["events"],
        "security": [],
        "parameters": [
            {
                "name": "x-inngest-event-id-seed",
                "in": "header",
                "schema": {"type": "string"},
                "description": "Unix milliseconds, a comma, ten bytes in base64: the same seed gives the same ids",
            },
        ],
        "requestBody": {
            "required": True,
            "content": _json({"oneOf": [_EVENT, {"type": "array", "items": _EVENT, "maxItems": 5_000}]}),
        },
        "responses": {
            "200": {"description": "Stored; the events' internal ids, in order", "content": _json(_ACCEPTED)},
        }
        | {status: {"description": why, "content": _json(_ACCEPTED)} for status, why in _REFUSALS.items()},
    }
    # flask-smorest documents rules only, and reads the path's parameters off them.
    rule = Rule("/e/<event_key>", endpoint="send", defaults={})
    Map([rule])
    api.spec.path(rule=rule, operations={"post": operation})


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
