"""One request: a document with its variables becomes an answer.

Whatever is wrong with the query is told in the answer's `errors`, each in a sentence; a fault of ours is told as such,
and the log has the rest.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeGuard

import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    execute,
)

from orchestrator import log
from orchestrator.api import outage
from orchestrator.api.graphql.build import build
from orchestrator.api.graphql.context import Caller, Context
from orchestrator.api.graphql.documents import Documents, InvalidDocumentError
from orchestrator.api.graphql.limits import check_cost
from orchestrator.engine.parts import Parts
from orchestrator.errors import RequestError, TransportError
from orchestrator.store.outage import is_outage

_log = log.get(__name__)

_MOST_ERRORS = 50
#: A zero byte, as it is or as GraphQL writes it.
_ZERO = re.compile(r"\0|\\u(?:0000|\{0+\})")
_BUG = "The server failed to answer; its log tells why"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request asks for."""

    query: str
    variables: Mapping[str, Any]
    operation_name: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What all requests share."""

    schema: GraphQLSchema
    documents: Documents


@cache
def machine() -> Machine:
    """Make the schema, when the first request comes."""
    schema = build()
    return Machine(schema, Documents(schema))


def read_asked(body: bytes) -> Asked:
    """Read the body of a request.  Raises `RequestError`."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"Request body is not valid JSON: {error}") from None
    if isinstance(content, list):
        raise RequestError("Request body is a list: send one operation in each request")
    if not isinstance(content, dict):
        raise RequestError("Request body must be a JSON object with a query")
    query, variables, name = (content.get(key) for key in ("query", "variables", "operationName"))
    if not isinstance(query, str):
        raise RequestError("query must be a string")
    if not isinstance(variables, dict | None):
        raise RequestError("variables must be an object")
    if not isinstance(name, str | None):
        raise RequestError("operationName must be a string")
    if _ZERO.search(query) or _has_zero(variables):
        raise RequestError("a string has a zero byte in it, which no database keeps")
    return Asked(query, variables or {}, name or None)


def _has_zero(value: object) -> bool:
    left = [value]  # not by recursion: what orjson reads may be nested deeper than Python calls itself
    while left:
        found = left.pop()
        if isinstance(found, str):
            if "\0" in found:
                return True
        elif isinstance(found, dict):
            left += [*found, *found.values()]
        elif isinstance(found, list):
            left += found
    return False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is told; `away`: the database cannot be used, so that it is worth asking again."""

    body: bytes
    away: bool = False


def answer(parts: Parts, asked: Asked, caller: Caller) -> Answer:
    """Answer a request; told in part where the database went away in the middle."""
    context = Context(parts, caller)
    try:
        result = _executed(asked, context)
    except InvalidDocumentError as error:
        result = ExecutionResult(None, error.errors)
    except GraphQLError as error:
        result = ExecutionResult(None, [error])
    except RequestError as error:
        result = ExecutionResult(None, [GraphQLError(error.message, original_error=error)])
    told: dict[str, object] = {"data": result.data}
    causes = [_cause(it) for it in result.errors or ()]
    away = next((it for it in causes if it is not None and is_outage(it)), None)
    if away is not None:
        outage.told_outage(away, "POST", "/v0/gql")
    if result.errors:
        told["errors"] = [_error(it) for it in result.errors[:_MOST_ERRORS]]
    if context.warnings:
        told["extensions"] = {"warnings": context.warnings}
    return Answer(orjson.dumps(told), away is not None)


def _executed(asked: Asked, context: Context) -> ExecutionResult:
    shared = machine()
    document = shared.documents.get(asked.query)
    operation = _operation(document, asked.operation_name)
    check_cost(shared.schema, document, operation, asked.variables)
    result = execute(
        shared.schema,
        document,
        context_value=context,
        variable_values=dict(asked.variables),
        operation_name=asked.operation_name,
        is_awaitable=_never,
        max_coercion_errors=_MOST_ERRORS,
    )
    assert isinstance(result, ExecutionResult), "nothing here is awaited"
    return result


def _never(_value: object) -> TypeGuard[Awaitable[Any]]:
    return False


def _operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    found = [it for it in document.definitions if isinstance(it, OperationDefinitionNode)]
    if name is None:
        if len(found) != 1:
            raise RequestError(f"the query has {len(found)} operations: operationName must say which one is meant")
        return found[0]
    for operation in found:
        if operation.name is not None and operation.name.value == name:
            return operation
    raise RequestError(f'the query has no operation "{name[:60]}"')


def _error(error: GraphQLError) -> dict[str, Any]:
    """Write an error: what is the sender's to mend is told, what is ours is logged."""
    told: dict[str, Any] = dict(error.formatted)
    cause = _cause(error)
    if cause is None:
        return told
    if is_outage(cause):
        return told | {"message": outage.SENTENCE, "extensions": {"code": outage.CODE}}
    if isinstance(cause, RequestError | TransportError):
        return told | {"message": cause.message, "extensions": {"code": cause.code}}
    where = ".".join(map(str, error.path or ()))
    _log.error("query failed", field=where[:200], exc_info=cause)
    return told | {"message": _BUG, "extensions": {"code": "internal"}}


def _cause(error: GraphQLError) -> Exception | None:
    """What was raised while a field was read; None: nothing but the query is wrong."""
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause
