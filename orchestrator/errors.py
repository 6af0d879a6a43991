"""Every error of ours, grouped by what the caller can do about it.

The docstring of a class is its default sentence.  `RequestError` and below are the sender's to mend and carry an HTTP
status; `UserCodeError` belongs to the function's author; anything else that escapes is a bug of ours.
"""

from __future__ import annotations


class OrchestratorError(Exception):
    """Something went wrong in the orchestrator."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])

    @property
    def message(self) -> str:
        """The sentence for a person."""
        return str(self.args[0])


class ConfigError(OrchestratorError):
    """The configuration cannot be used; the sentence names the setting and what it may be."""


class BrokenModuleError(ConfigError):
    """A module with functions cannot be imported; the traceback is in the message."""


class RequestError(OrchestratorError):
    """The request cannot be taken as it is; the sentence names the field and the limit."""

    status = 400
    code = "invalid_request"


class NotFoundError(RequestError):
    """There is no such thing."""

    status = 404
    code = "not_found"


class ConflictError(RequestError):
    """The request does not fit the present state."""

    status = 409
    code = "conflict"


class UnauthorizedError(RequestError):
    """The credential is missing or not known here."""

    status = 401
    code = "unauthorized"


class ForbiddenError(RequestError):
    """The credential does not allow this."""

    status = 403
    code = "forbidden"


class TooLargeError(RequestError):
    """The request is larger than the limit named."""

    status = 413
    code = "too_large"


class ExpressionError(RequestError):
    """The expression cannot be compiled or evaluated; the sentence shows where."""

    code = "invalid_expression"


class TransportError(OrchestratorError):
    """The app could not be reached, or did not answer as an app on an SDK does."""

    code = "unreachable"

    def __init__(self, message: str, code: str = "unreachable") -> None:
        super().__init__(message)
        self.code = code
