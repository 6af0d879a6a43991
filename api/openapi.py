"""The OpenAPI document: what cannot be read off the views, and the event API, which is not served by Flask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask
from flask_smorest import Api
from werkzeug.routing import Map, Rule

from orchestrator.api.access import Way, needs
from orchestrator.api.routing import SlugConverter, UlidConverter, slug_parameter, ulid_parameter
from orchestrator.api.schemas import PLAIN, ErrorShape

#: The endpoint of the document.
DOCUMENT = "api-docs.openapi_json"
EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 512, "pattern": PLAIN},
        "data": {"type": ["object", "null"]},
        "id": {
            "type": ["string", "null"],
            "maxLength": 512,
            "description": "The same id again within 24 hours starts nothing",
        },
        "ts": {
            "type": ["integer", "null"],
            "minimum": 315_532_800_000,
            "maximum": 4_102_444_800_000,
            "description": "Unix milliseconds; in the future: the runs start then",
        },
        "user": {"type": ["object", "null"]},
        "v": {"type": ["string", "null"]},
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
    "503": "The database cannot be used at this moment; send the events again",
}
_OUTPUTS = {
    "200": "What the endpoint answered, with its headers; its status may be another one",
    "400": "The id is no ULID",
    "401": "The token is not one for this run, or has expired",
    "404": "There is no such run",
    "410": "The run was cancelled",
    "500": "The run failed: the name and the message of its error",
    "503": "Too many wait already",
    "504": "The run has not ended within five minutes; ask again",
}


def make_api(app: Flask, version: str, *, guarded: bool) -> Api:
    """Serve the document at /openapi.json and return what blueprints register themselves with."""
    app.config |= {
        "API_TITLE": "Orchestrator",
        "API_VERSION": version,
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/",
        "OPENAPI_JSON_PATH": "openapi.json",
        "GUARDED": guarded,
        "API_SPEC_OPTIONS": {"security": [{"bearer": []}]} if guarded else {},
    }
    app.url_map.converters |= {"ulid": UlidConverter, "slug": SlugConverter}
    api = Api()
    api.ERROR_SCHEMA = ErrorShape
    api.register_converter(UlidConverter, ulid_parameter)
    api.register_converter(SlugConverter, slug_parameter)
    api.init_app(app)
    app.view_functions[DOCUMENT] = _open(app.view_functions[DOCUMENT])
    if guarded:
        api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    _document_event_api(api)
    for way in ("http/runs", "checkpoint"):
        _document_outputs(api, way)
    return api


def _open(view: Callable[..., Any]) -> Callable[..., Any]:
    """The view of the document, for everybody; it is a method, which takes no attributes."""
    return needs(Way.OPEN)(lambda **values: view(**values))


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
            "content": _json({"oneOf": [EVENT, {"type": "array", "items": EVENT, "maxItems": 5_000}]}),
        },
        "responses": {
            "200": {"description": "Stored; the events' internal ids, in order", "content": _json(_ACCEPTED)},
        }
        | {status: {"description": why, "content": _json(_ACCEPTED)} for status, why in _REFUSALS.items()},
    }
    _add(api, "/e/<event_key>", {"post": operation})


def _document_outputs(api: Api, way: str) -> None:
    token = {"name": "token", "in": "query", "required": True, "schema": {"type": "string"}}
    operation = {
        "summary": "Wait for the end of a durable endpoint's run, and get the endpoint's answer.",
        "tags": ["endpoints"],
        "security": [],
        "parameters": [token | {"description": "What the SDK was given when it began the run; it needs no other key"}],
        "responses": {status: {"description": why, "content": _json({})} for status, why in _OUTPUTS.items()},
    }
    _add(api, f"/v1/{way}/<run_id>/output", {"get": operation})


def _add(api: Api, path: str, operations: dict[str, Any]) -> None:
    # flask-smorest documents rules only, and reads the path's parameters off them.
    rule = Rule(path, endpoint=path, defaults={})
    Map([rule])
    api.spec.path(rule=rule, operations=operations)


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
