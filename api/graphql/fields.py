"""Types of the schema whose fields are told in a table: a name, and how it is read from what the store has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ariadne import ObjectType
from graphql import GraphQLResolveInfo

from orchestrator.api.graphql.context import Context

#: What a resolver is told of where it stands.
Info = GraphQLResolveInfo[Context]
Read = Callable[[Any, Context], object]


def object_type(name: str, fields: Mapping[str, Read]) -> ObjectType:
    """Make the type `name`, whose fields are read so."""
    made = ObjectType(name)
    for field, read in fields.items():
        made.set_field(field, _resolver(read))
    return made


def _resolver(read: Read) -> Callable[..., object]:
    def resolve(thing: object, info: Info, **_arguments: object) -> object:
        return read(thing, info.context)

    return resolve
