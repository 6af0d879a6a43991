"""The OpenAPI document as people read it: operations by group, and schemas as outlines of the JSON they mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Schemas within schemas; spans have spans in them for ever.
_DEPTH = 6
_METHODS = ("get", "post", "put", "patch", "delete")
_BOUNDS = {
    "minimum": "from {}",
    "maximum": "to {}",
    "minLength": "{} or more characters",
    "maxLength": "{} characters at most",
    "format": "{}",
    "default": "{} if nothing is said",
}

Document = Mapping[str, Any]
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something that a path, a query or a header says."""

    name: str
    place: str
    required: bool
    kind: str
    told: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One status an operation answers with, and an outline of its body (empty: it has none)."""

    status: str
    told: str
    body: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One way to ask."""

    anchor: str
    method: str
    path: str
    summary: str
    told: str
    credential: str
    parameters: tuple[Parameter, ...]
    body: str
    body_told: str
    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Operations that belong together."""

    anchor: str
    name: str
    told: str
    operations: tuple[Operation, ...]


def groups_of(document: Document) -> list[Group]:
    """The operations by their first tag, in the order of the document."""
    described = {tag["name"]: tag.get("description", "") for tag in document.get("tags", ())}
    found: dict[str, list[Operation]] = {name: [] for name in described}
    for path, item in document["paths"].items():
        shared = item.get("parameters", ())
        for method in _METHODS:
            if method in item:
                name = next(iter(item[method].get("tags", ())), "others")
                found.setdefault(name, []).append(_operation(document, method, path, item[method], shared))
    return [
        Group(_anchor(name), name, described.get(name, ""), tuple(operations))
        for name, operations in found.items()
        if operations
    ]


def outline(document: Document, schema: Schema, depth: int = _DEPTH) -> str:
    """What JSON a schema means, in the look of JSON."""
    return "\n".join(_lines(document, schema, depth))


def _operation(document: Document, method: str, path: str, said: Mapping[str, Any], shared: Any) -> Operation:
    body = said.get("requestBody", {})
    parameters = [_resolved(document, it) for it in (*shared, *said.get("parameters", ()))]
    return Operation(
        anchor=_anchor(f"{method} {path}"),
        method=method.upper(),
        path=path,
        summary=said.get("summary", ""),
        told=said.get("description", ""),
        credential=said.get("x-credential", "an event key, or a token with the scope events"),
        parameters=tuple(_parameter(document, it) for it in parameters),
        body=_content(document, body),
        body_told=body.get("description", ""),
        replies=tuple(
            _reply(document, str(status), it) for status, it in sorted(said.get("responses", {}).items(), key=_status)
        ),
    )


def _status(item: tuple[Any, Any]) -> str:
    return str(item[0])


def _parameter(document: Document, said: Mapping[str, Any]) -> Parameter:
    schema = _resolved(document, said.get("schema", {}))
    bounds = [text.format(schema[name]) for name, text in _BOUNDS.items() if schema.get(name) not in (None, "")]
    told = [said.get("description", schema.get("description", "")), ", ".join(bounds)]
    return Parameter(
        said["name"], said["in"], said.get("required", False), _kind(schema), "; ".join(filter(None, told))
    )


def _reply(document: Document, status: str, said: Mapping[str, Any]) -> Reply:
    resolved = _resolved(document, said)
    return Reply(status, resolved.get("description", ""), _content(document, resolved))


def _content(document: Document, said: Mapping[str, Any]) -> str:
    for kind in said.get("content", {}).values():
        if "schema" in kind:
            return outline(document, kind["schema"])
    return ""


def _resolved(document: Document, schema: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        schema = found
    return schema


def _lines(document: Document, schema: Schema, depth: int) -> Iterator[str]:
    schema = _resolved(document, schema)
    one = next(iter(schema.get("oneOf") or schema.get("anyOf") or schema.get("allOf") or ()), None)
    if one is not None:
        yield from _lines(document, one, depth)
    elif schema.get("properties") and depth:
        yield "{"
        for name, member in schema["properties"].items():
            yield from _member(document, name, member, name in schema.get("required", ()), depth - 1)
        yield "}"
    elif schema.get("items") and depth:
        inner = list(_lines(document, schema["items"], depth - 1))
        yield "[" + inner[0]
        yield from inner[1:-1]
        yield f"{inner[-1]}, ...]" if len(inner) > 1 else ", ...]"
    else:
        yield _kind(schema)


def _member(document: Document, name: str, schema: Schema, required: bool, depth: int) -> Iterator[str]:
    inner = list(_lines(document, schema, depth))
    told = _resolved(document, schema).get("description", "") or schema.get("description", "")
    note = "; ".join(filter(None, ("" if required else "perhaps", told.replace("\n", " ") if len(inner) == 1 else "")))
    yield f"  {json.dumps(name)}: {inner[0]}" + (f"    # {note}" if note else "")
    yield from (f"  {line}" for line in inner[1:])


def _kind(schema: Schema) -> str:
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    kind = schema.get("type", "anything")
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def _anchor(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text).strip("-").lower()
