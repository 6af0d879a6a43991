"""What user code raises to steer a run, what it may catch, and what passes through it unseen."""

from __future__ import annotations

from datetime import datetime, timedelta


class NonRetriable(Exception):  # noqa: N818 - a word users write
    """Fail at once: trying again would not help."""


class RetryAfter(Exception):  # noqa: N818 - a word users write
    """Try again, but not before `after` (a span from now, or a moment with a time zone)."""

    def __init__(self, message: str, after: timedelta | datetime) -> None:
        super().__init__(message)
        self.after = after


class StepError(Exception):
    """A step has failed for good: every attempt was used up, or trying again would not have helped.

    `name` is the class of the error, `stack` its traceback as text, as far as they are known.
    """

    def __init__(self, message: str, name: str = "Error", stack: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        self.stack = stack


class NotDeterministic(NonRetriable):
    """The function asked for its steps in a way that cannot be followed: it changed, or does not repeat itself."""


class InvalidExpression(NonRetriable):
    """The condition of a wait cannot be compiled."""


class Interrupt(BaseException):
    """The function is left here, and called again when there is more to do; never for user code to catch."""


class Abandoned(Interrupt):
    """The function must not go on: its lease is lost, or its progress cannot be stored (then there is a cause)."""
