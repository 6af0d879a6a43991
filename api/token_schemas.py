"""Shapes of tokens, as JSON and for the OpenAPI file."""

from __future__ import annotations

from marshmallow import Schema, ValidationError, fields, validate

from orchestrator.api.schemas import MAX_EVENTS, ULID_PATTERN, Few, Whole
from orchestrator.core.scope import Scope
from orchestrator.engine.tokens import MAX_NAME
from orchestrator.ids import is_ulid

#: Some of what may be in a name: letters, digits and signs of any script may, control characters not.
_WORDS = r"^[\w.:@/+-][\w .:@/+-]*$"


def _is_token(value: str) -> None:
    if not is_ulid(value):
        raise ValidationError("must be the id (a ULID) of a token")


class TokenBody(Schema):
    """A token to be made."""

    name = fields.String(
        required=True,
        validate=validate.Length(1, MAX_NAME, error=f"must have 1 to {MAX_NAME} characters"),
        error_messages={"required": "is missing: it must say what the token is for"},
        metadata={"description": "What it is for; people find it by this", "pattern": _WORDS},
    )
    scopes = Few(
        fields.String(
            validate=validate.OneOf(list(Scope), error=f"must be one of {', '.join(Scope)}"),
        ),
        20,
        f"must have 1 to 20 of {', '.join(Scope)}",
        least=1,
        required=True,
        error_messages={"required": f"is missing: it must list some of {', '.join(Scope)}"},
        metadata={"description": "What its bearer may do: these and nothing else"},
    )


class TokensQuery(Schema):
    """Which tokens are wanted."""

    limit = Whole(1, MAX_EVENTS, load_default=20, metadata={"description": "At most so many"})
    cursor = fields.String(
        validate=_is_token,
        metadata={
            "description": "Only tokens before this one: the id of the last token of the page before",
            "pattern": ULID_PATTERN,
        },
    )


class TokenShape(Schema):
    """A token; its secret is not kept."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    hint = fields.String(required=True, metadata={"description": "What its secret begins with"})
    scopes = fields.List(fields.String(validate=validate.OneOf(list(Scope))), required=True)
    created_at = fields.AwareDateTime(required=True)
    last_used_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "To the minute; null: never"}
    )
    revoked_at = fields.AwareDateTime(required=True, allow_none=True)


class NewTokenShape(TokenShape):
    """A token that was made just now."""

    token = fields.String(required=True, metadata={"description": "Its secret, told this once"})
