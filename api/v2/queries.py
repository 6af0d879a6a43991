"""What the lists of /v2 take in their queries."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from orchestrator.api.schemas import MAX_NAME, Moment, Whole
from orchestrator.api.v2.shapes import STATUSES
from orchestrator.core.effect import Status
from orchestrator.protocol.sync_limits import MAX_EXPRESSION
from orchestrator.store.filters import TimeField

MAX_PAGE = 100
MAX_CURSOR = 600
_TIMES = {f"{field.value}At": field for field in TimeField}
_ANY = f"({'|'.join(STATUSES)})"
_STATUSES = f"^{_ANY}(,{_ANY})*$"
_PRINTED = r"^[^\u0000-\u001f]+$"
_CONTROL = re.compile(r"[\x00-\x1f]")


def _is_plain(value: str) -> None:
    if _CONTROL.search(value):
        raise ValidationError("must have no control characters")


class Statuses(fields.String):
    """Some statuses of runs, with commas between."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        words = str(value).split(",")
        if len(words) > len(STATUSES) or not set(words) <= set(STATUSES):
            raise ValidationError(f"must be some of {', '.join(STATUSES)}, with commas between")
        return tuple(STATUSES[word] for word in words)


class PageQuery(Schema):
    """Which part of a list is wanted."""

    limit = Whole(1, MAX_PAGE, load_default=20, metadata={"description": "At most so many"})
    cursor = fields.String(
        validate=[
            validate.Length(1, MAX_CURSOR, error=f"must have 1 to {MAX_CURSOR} characters, from the page before"),
            _is_plain,
        ],
        load_default=None,
        metadata={"description": "Where to go on: `page.cursor` of the page before", "pattern": _PRINTED},
    )


class OutputQuery(PageQuery):
    """Which part of a list of runs is wanted, and how much of each."""

    include_output = fields.Boolean(
        data_key="includeOutput",
        load_default=False,
        truthy={"true", "1"},
        falsy={"false", "0"},
        error_messages={"invalid": "must be true or false"},
        metadata={"description": "With what each run came to"},
    )


class RunsQuery(OutputQuery):
    """Which runs are wanted."""

    status = Statuses(
        load_default=tuple[Status, ...](),
        metadata={"description": "Only runs that are in one of these, with commas between", "pattern": _STATUSES},
    )
    since = Moment(data_key="from", load_default=None, metadata={"description": "That moment or later"})
    until = Moment(load_default=None, metadata={"description": "Before that moment"})
    time_field = fields.String(
        data_key="timeField",
        load_default="queuedAt",
        validate=validate.OneOf(list(_TIMES), error=f"must be one of {', '.join(_TIMES)}"),
        metadata={"description": "Which of a run's times `from` and `until` are about, and the order"},
    )
    order = fields.String(
        load_default="desc",
        validate=validate.OneOf(["asc", "desc"], error="must be asc or desc"),
        metadata={"description": "The oldest first, or the newest"},
    )
    app_id = fields.String(
        data_key="appId",
        load_default=None,
        validate=[validate.Length(1, MAX_NAME), _is_plain],
        metadata={"description": "Only runs of this app", "pattern": _PRINTED},
    )
    query = fields.String(
        load_default=None,
        validate=validate.Length(1, MAX_EXPRESSION, error=f"must have 1 to {MAX_EXPRESSION} characters"),
        metadata={"description": "Only runs that meet this condition, in CEL over `event` and `output`"},
    )


def time_field(word: str) -> TimeField:
    """The time of a run that a query names."""
    return _TIMES[word]
