"""How routes are declared: blueprints that document themselves, whose refusals are 400s, and ids in paths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from flask import Request
from flask_smorest import Blueprint
from marshmallow import Schema, missing
from webargs.flaskparser import FlaskParser, is_json_request
from werkzeug.routing import BaseConverter

from orchestrator.api.access import Way
from orchestrator.api.schemas import ULID_PATTERN, ErrorShape
from orchestrator.core.scope import Scope
from orchestrator.errors import RequestError
from orchestrator.ids import is_ulid

_SHOWN = 60
#: Answered by the HTTP server, which does not know what was asked.
_LONG = {
    "description": "The query is longer than a request's first line may be",
    "content": {"application/json": {"schema": ErrorShape}},
}


class _Parser(FlaskParser):
    """Refuses by 400, as everything here, where webargs says 422; and takes no JSON that not every reader takes."""

    DEFAULT_VALIDATION_STATUS = 400

    def _raw_load_json(self, req: Request) -> Any:
        body = req.get_data(cache=True)
        if not (body and is_json_request(req)):
            return missing
        try:
            # Python's own reader takes halves of characters and NaN, but keeps whole numbers of any length.
            orjson.loads(body)
            return json.loads(body)
        except ValueError as error:
            raise RequestError(f"Request body is not valid JSON: {error}") from None
        except RecursionError:
            raise RequestError("Request body is nested too deeply") from None


class Group(Blueprint):  # type: ignore[misc]  # flask-smorest has no types
    """Routes whose documents tell the credential they need, and every status they answer with.

    `errors` is the shape of their refusals.
    """

    ARGUMENTS_PARSER = _Parser()

    def __init__(self, name: str, *, description: str, errors: type[Schema]) -> None:
        super().__init__(name, __name__, description=description)
        self._errors = errors
        self._prepare_doc_cbks.append(self._tell_access)

    def _tell_access(
        self, doc: dict[str, Any], doc_info: Mapping[str, Any], *, spec: Any, app: Any, method: str, **_: Any
    ) -> dict[str, Any]:
        access = doc_info.get("access", Way.SIGNING_KEY)
        responses = doc.setdefault("responses", {})
        # It would let an answer of any status pass for a documented one.
        responses.pop("default", None)
        for status in [status for status, said in responses.items() if said == "BAD_REQUEST"]:
            responses[status] = self._refusal("Something of the request is not acceptable; the sentence names it")
        if any(parameter.get("in") == "query" for parameter in doc.get("parameters", ())):
            responses["414"] = _LONG
        if access is Way.OPEN:
            return doc | {"security": [], "x-credential": access.value}
        responses.setdefault("503", self._refusal("The database cannot be used at this moment; ask again"))
        if app.config["GUARDED"]:
            responses["401"] = self._refusal("There is no credential, or it is not known here")
            responses["403"] = self._refusal("The token may not do this")
        told = f"a token with the scope {access.value}" if isinstance(access, Scope) else access.value
        return doc | {"x-credential": told}

    def _refusal(self, why: str) -> dict[str, Any]:
        return {"description": why, "content": {"application/json": {"schema": self._errors}}}


class UlidConverter(BaseConverter):
    """Marks a ULID for the OpenAPI document; it lets anything pass, so that `check_ulid` can say what is wrong."""


class SlugConverter(BaseConverter):
    """A function's slug, which may have slashes in it; what comes after it in a path is no part of it.

    None has a zero byte, which databases refuse instead of finding nothing.
    """

    regex = r"(?!.*\x00)(?!.*/(?:pause|resume)$)[^/].*?"
    part_isolating = False


def slug_parameter(_converter: BaseConverter) -> dict[str, object]:
    """Describe a slug in a path."""
    return {"type": "string", "minLength": 1}


def ulid_parameter(_converter: BaseConverter) -> dict[str, object]:
    """Describe a ULID in a path."""
    return {"type": "string", "pattern": ULID_PATTERN}


def blueprint(name: str, description: str, errors: type[Schema] = ErrorShape) -> Group:
    """Make a group of routes."""
    return Group(name, description=description, errors=errors)


def check_ulid(field: str, text: str) -> str:
    """Return the id in its canonical spelling.  Raises `RequestError` when it is none."""
    if not is_ulid(text):
        raise RequestError(f'{field} must be a ULID (26 letters and digits), not "{text[:_SHOWN]}"')
    return text.upper()
