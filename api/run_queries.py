"""How lists of runs are asked for."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from orchestrator.api.schemas import MAX_EVENTS, MAX_NAME, Moment, Whole
from orchestrator.core.effect import Status
from orchestrator.core.failure import LENGTH
from orchestrator.protocol.sync_limits import MAX_EXPRESSION

#: Functions, apps or statuses that may be named at once.
MOST_NAMED = 100
_TIMES = ["queued_at", "started_at", "ended_at"]
_STATUSES = [status.value for status in Status]


class Names(fields.String):
    """Names with commas between them, each one of those that are allowed, if that is said."""

    def __init__(self, allowed: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._allowed = allowed

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        names = [name.strip() for name in str(value).split(",") if name.strip()]
        if not 0 < len(names) <= MOST_NAMED or any(len(name) > MAX_NAME or "\0" in name for name in names):
            raise ValidationError(f"must be 1 to {MOST_NAMED} names of 1 to {MAX_NAME} characters, commas between them")
        if self._allowed is not None and not set(names) <= set(self._allowed):
            raise ValidationError(f"must be some of {', '.join(self._allowed)}, commas between them")
        return list(dict.fromkeys(names))


class Fingerprint(fields.String):
    """What failures have in common that are alike."""

    def __init__(self, **kwargs: Any) -> None:
        check = validate.Regexp(rf"[0-9a-f]{{{LENGTH}}}\Z", error=f"must be {LENGTH} hexadecimal digits")
        super().__init__(validate=check, **kwargs)


class RunsQuery(Schema):
    """Which runs are wanted, and in which order."""

    limit = Whole(1, MAX_EVENTS, load_default=20, metadata={"description": "At most so many"})
    cursor = fields.String(
        validate=validate.Length(1, 200, error="must be the cursor of a page before"),
        metadata={"description": "Only runs after this place: `page.cursor` of the page before"},
    )
    status = Names(_STATUSES, metadata={"description": f"Of {', '.join(_STATUSES)}; several with commas between them"})
    function = Names(metadata={"description": "Slugs or ids of functions, with commas between them"})
    app = Names(metadata={"description": "Names or ids of apps, with commas between them"})
    event_name = fields.String(
        validate=validate.Regexp(r"[^\0]{1,512}\Z", error=f"must be a name of 1 to {MAX_NAME} characters"),
        metadata={"description": "The name of the event it is known by", "minLength": 1, "maxLength": MAX_NAME},
    )
    since = Moment(metadata={"description": "That moment or later"})
    until = Moment(metadata={"description": "Before that moment"})
    time_field = fields.String(
        validate=validate.OneOf(_TIMES, error="must be one of {choices}"),
        metadata={"description": "Which time `since` and `until` are about: queued_at, if nothing is said"},
    )
    order_by = fields.String(
        validate=validate.OneOf(_TIMES, error="must be one of {choices}"),
        metadata={"description": "queued_at, if nothing is said; a run without that time comes last, or first in asc"},
    )
    order = fields.String(
        validate=validate.OneOf(["desc", "asc"], error="must be desc or asc"),
        metadata={"description": "desc, the newest first, if nothing is said"},
    )
    query = fields.String(
        validate=validate.Length(1, MAX_EXPRESSION, error=f"must have 1 to {MAX_EXPRESSION} characters"),
        metadata={
            "description": "A condition in CEL over `event` and `output`; a page then ends where its time is used up, "
            "says so in `page.scanned_until`, and may have fewer runs or none"
        },
    )
    failure = Fingerprint(metadata={"description": "Failed runs of this kind: a `failure` of `/v1/failures`"})
    include_output = fields.Boolean(
        load_default=False,
        error_messages={"invalid": "must be true or false"},
        metadata={"description": "Also the output of each run"},
    )
