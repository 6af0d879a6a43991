"""How routes are declared: blueprints that document themselves, whose refusals are 400s, and ids in paths."""

from __future__ import annotations

from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser
from werkzeug.routing import BaseConverter

from orchestrator.errors import RequestError
from orchestrator.ids import is_ulid

ULID_PATTERN = "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"
_SHOWN = 60


class _Parser(FlaskParser):
    """Refuses by 400, as everything here, where webargs says 422."""

    DEFAULT_VALIDATION_STATUS = 400


class UlidConverter(BaseConverter):
    """Marks a ULID for the OpenAPI document; it lets anything pass, so that `check_ulid` can say what is wrong."""


def ulid_parameter(_converter: BaseConverter) -> dict[str, object]:
    """Describe a ULID in a path."""
    return {"type": "string", "pattern": ULID_PATTERN}


def blueprint(name: str, description: str) -> Blueprint:
    """Make a group of routes."""
    group = Blueprint(name, __name__, description=description)
    group.ARGUMENTS_PARSER = _Parser()
    return group


def check_ulid(field: str, text: str) -> str:
    """Return the id in its canonical spelling.  Raises `RequestError` when it is none."""
    if not is_ulid(text):
        raise RequestError(f'{field} must be a ULID (26 letters and digits), not "{text[:_SHOWN]}"')
    return text.upper()
