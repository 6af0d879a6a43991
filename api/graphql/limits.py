"""What one operation may ask for: told from its text and its variables, before anything is read.

A field costs 1, or what `WEIGHTS` says where it reads something of its own; what is below a list counts once for each
item that the list may have.  Fragments are counted once and remembered, so that counting is quick however they nest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
)
from graphql.execution.values import VariableValues, get_argument_values, get_variable_values

from orchestrator.errors import RequestError

#: Names, marks and values of one document.
MOST_TOKENS = 2_000
#: In one pair of braces.
MOST_SELECTIONS = 150
#: Brackets within brackets, in its text.
MOST_NESTING = 60
#: Selections within selections.
MOST_DEPTH = 20
#: Fields of the query or the mutation itself, aliases included.
MOST_ROOT_FIELDS = 30
MOST_COST = 25_000
#: Of what is asked about the schema, which costs no reading.
MOST_INTROSPECTION_COST = 80_000

#: Fields that read something of their own, for each item.
WEIGHTS = {
    "FunctionRunV2.trace": 20,
    "FunctionRunV2.defers": 5,
    "FunctionRunV2.siblingDefers": 5,
    "FunctionRunV2.hasAI": 5,
    "FunctionRun.history": 5,
    "FunctionRun.waitingFor": 5,
    "RunTraceSpan.run": 5,
}
_ROOT_WEIGHT = 10
#: How many items a list is taken to have; a connection has them instead of its `edges`.
SIZES = {
    "Query.apps": 10,
    "Query.functions": 30,
    "Query.events": 100,
    "App.functions": 10,
    "Event.functionRuns": 5,
    "EventV2.runs": 5,
    "StreamItem.runs": 5,
    "FunctionRun.events": 5,
    "FunctionRun.history": 10,
    "RunTraceSpan.childrenSpans": 20,
    "__Schema.types": 90,
    "__Schema.directives": 5,
    "__Type.fields": 8,
    "__Type.interfaces": 1,
    "__Type.possibleTypes": 1,
    "__Type.enumValues": 3,
    "__Type.inputFields": 1,
    "__Field.args": 1,
    "__Directive.args": 2,
    "__Directive.locations": 3,
}
_FEW = 3
#: Where a field says itself how many items it has at most.
_SAID = {
    "Query.runs": ("first",),
    "Query.eventsV2": ("first",),
    "Query.workerConnections": ("first",),
    "Query.stream": ("query", "limit"),
}
_BRACKETS = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""|"(?:[^"\\\n]|\\.)*"|#[^\n]*|([{(\[])|([})\]])', re.DOTALL)


_WITH_SELECTIONS = (OperationDefinitionNode, FragmentDefinitionNode)
_WITH_FIELDS = (GraphQLObjectType, GraphQLInterfaceType, GraphQLUnionType)


class CostError(RequestError):
    """The operation asks for too much at once."""

    code = "too_costly"


def check_nesting(text: str) -> None:
    """Refuse a document with more brackets within brackets than a parser should follow.  Raises `CostError`."""
    depth = 0
    for found in _BRACKETS.finditer(text):
        depth += (found.group(1) is not None) - (found.group(2) is not None)
        if depth > MOST_NESTING:
            raise CostError(f"the query has more than {MOST_NESTING} brackets within brackets, the limit")


def check_width(document: DocumentNode) -> None:
    """Refuse a document with very many selections side by side: validating it compares each with each.

    Raises `CostError`.
    """
    sets = [it.selection_set for it in document.definitions if isinstance(it, _WITH_SELECTIONS)]
    while sets:
        found = sets.pop()
        if len(found.selections) > MOST_SELECTIONS:
            raise CostError(
                f"the query has {len(found.selections)} selections in one place, the limit is {MOST_SELECTIONS}"
            )
        below = [it.selection_set for it in found.selections if isinstance(it, FieldNode | InlineFragmentNode)]
        sets += [it for it in below if it is not None]


def check_cost(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> None:
    """Refuse an operation of a valid document that asks for too much.  Raises `CostError`.

    One whose variables do not fit is let through: executing it says what is wrong.
    """
    # One fault is enough: tens of thousands of them take seconds to be put into words.
    coerced = get_variable_values(schema, operation.variable_definitions or (), dict(variables), max_errors=1)
    root = schema.get_root_type(operation.operation)
    if isinstance(coerced, list) or root is None:
        return
    fragments = {it.name.value: it for it in document.definitions if isinstance(it, FragmentDefinitionNode)}
    try:
        asked = _Counting(schema, fragments, coerced).of(operation.selection_set, root)
    except RecursionError:
        raise CostError("the operation has too many fragments within fragments") from None
    _refuse("selections within selections", asked.depth, MOST_DEPTH)
    _refuse("fields at its top", asked.fields, MOST_ROOT_FIELDS)
    if asked.introspection > MOST_INTROSPECTION_COST:
        raise CostError(
            f"what is asked of the schema costs {asked.introspection}, the limit is {MOST_INTROSPECTION_COST}"
        )
    if asked.cost > MOST_COST:
        raise CostError(f"the operation costs {asked.cost}, the limit is {MOST_COST}: ask for fewer fields or items")


def _refuse(what: str, number: int, most: int) -> None:
    if number > most:
        raise CostError(f"the operation has {number} {what}, the limit is {most}")


@dataclass(frozen=True, slots=True)
class _Sum:
    """What selections come to: for one object, with how many fields of it, and how deep."""

    cost: int = 0
    introspection: int = 0
    fields: int = 0
    depth: int = 0

    def __add__(self, other: _Sum) -> _Sum:
        return _Sum(
            self.cost + other.cost,
            self.introspection + other.introspection,
            self.fields + other.fields,
            max(self.depth, other.depth),
        )


@dataclass(frozen=True, slots=True)
class _Counting:
    """One counting."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: VariableValues
    known: dict[str, _Sum] = field(default_factory=dict)

    def of(self, selections: SelectionSetNode, parent: GraphQLNamedType) -> _Sum:
        """What the selections come to for one object of the type `parent`."""
        return sum((self._selection(it, parent) for it in selections.selections), _Sum())

    def _selection(self, node: object, parent: GraphQLNamedType) -> _Sum:
        if isinstance(node, FieldNode):
            return self._field(node, parent)
        if isinstance(node, InlineFragmentNode):
            condition = node.type_condition
            return self.of(node.selection_set, self._type(condition.name.value) if condition is not None else parent)
        assert isinstance(node, FragmentSpreadNode)
        name = node.name.value
        if name not in self.known:
            fragment = self.fragments[name]
            self.known[name] = self.of(fragment.selection_set, self._type(fragment.type_condition.name.value))
        return self.known[name]

    def _field(self, node: FieldNode, parent: GraphQLNamedType) -> _Sum:
        name = node.name.value
        definition = self.schema.get_field(parent, name) if isinstance(parent, _WITH_FIELDS) else None
        if definition is None:  # `__typename` of a union
            return _Sum(cost=1, fields=1, depth=1)
        key = f"{parent.name}.{name}"
        below = self.of(node.selection_set, get_named_type(definition.type)) if node.selection_set else _Sum()
        own = WEIGHTS.get(key, _ROOT_WEIGHT if parent is self.schema.query_type else 1)
        cost = own + self._size(key, definition, node) * (below.cost + below.introspection)
        depth = below.depth + 1
        if parent.name.startswith("__") or name.startswith("__"):
            return _Sum(introspection=cost, fields=1, depth=depth)
        return _Sum(cost, fields=1, depth=depth)

    def _size(self, key: str, definition: GraphQLField, node: FieldNode) -> int:
        if key in _SAID:
            value: object = get_argument_values(definition, node, self.variables)
            for name in _SAID[key]:
                value = value.get(name) if isinstance(value, dict) else None
            return max(value, 1) if isinstance(value, int) else _FEW
        if key in SIZES:
            return SIZES[key]
        return _FEW if is_list_type(get_nullable_type(definition.type)) and node.name.value != "edges" else 1

    def _type(self, name: str) -> GraphQLNamedType:
        return self.schema.type_map[name]
