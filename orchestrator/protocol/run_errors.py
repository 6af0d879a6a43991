"""The errors that functions and people get to see: names the SDKs know, and the shape the SDKs insist on.

An error is a JSON object with the texts `name` and `message`; the Python SDK refuses a memo without them.
"""

from __future__ import annotations

import json

import msgspec

FUNCTION_OVERFLOWED = "InngestErrFunctionOverflowed"
STATE_OVERFLOWED = "InngestErrStateOverflowed"
INVALID_EXPRESSION = "InvalidExpression"
TIMEOUT_TOO_LONG = "InngestErrTimeoutTooLong"
STEP_OUTPUT_TOO_LARGE = "StepOutputTooLarge"
#: Something in front of the SDK answered, or nothing did.
APP_UNREACHABLE = "AppUnreachable"
#: It was reached, and said more than an answer may hold; asked again it would say it again.
ANSWER_TOO_LARGE = "AnswerTooLarge"
#: An SDK answered what no SDK should.
INVALID_ANSWER = "InvalidAnswer"

#: A longer message of ours or of something that is no SDK is cut here.
MAX_MESSAGE = 4096
#: A larger error object loses everything but its name and its message.
MAX_ERROR = 1024 * 1024

_DEFAULT_NAME = "Error"
_NO_MESSAGE = "the app gave no message"


def error_text(name: str, message: str, code: str | None = None) -> str:
    """Write an error object."""
    error = {"name": name, "message": message[:MAX_MESSAGE]}
    if code is not None:
        error["code"] = code
    return json.dumps(error, ensure_ascii=False)


def too_much_state(size: int, limit: int) -> str:
    """The sentence about a run that has memoised more than it may."""
    return f"the run has memoised {size} bytes; the limit is {limit} (max_state_bytes)"


def error_object(text: str) -> str:
    """Make any text an error object.

    An object with a name and a message stays as it is, byte for byte; other objects get what they lack, and any other
    text becomes the message.
    """
    fields = _fields(text)
    if fields is None:
        return error_text(_DEFAULT_NAME, _message_in(text))
    name, message = _string(fields.get("name")), _string(fields.get("message"))
    if len(text) > MAX_ERROR:
        return error_text((name or _DEFAULT_NAME)[:MAX_MESSAGE], message or _NO_MESSAGE)
    if name is not None and message is not None and _stack_is_fine(fields):
        return text
    if message is None:
        message = _string(fields.get("error")) or _json(fields.get("message"))
    parts = [f'"name":{_quoted(name or _DEFAULT_NAME)}', f'"message":{_quoted(message or _NO_MESSAGE)}']
    others = {key: value for key, value in fields.items() if key not in ("name", "message")}
    if not _stack_is_fine(fields):
        del others["stack"]
    parts += [f"{_quoted(key)}:{bytes(value).decode()}" for key, value in others.items()]
    return "{" + ",".join(parts) + "}"


def _fields(text: str) -> dict[str, msgspec.Raw] | None:
    try:
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        return None


def _string(value: msgspec.Raw | str | None) -> str | None:
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=str)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _json(value: msgspec.Raw | None) -> str | None:
    text = bytes(value).decode() if value is not None else "null"
    return None if text == "null" else text[:MAX_MESSAGE]


def _stack_is_fine(fields: dict[str, msgspec.Raw]) -> bool:
    stack = fields.get("stack")
    return stack is None or bytes(stack) == b"null" or _string(stack) is not None


def _message_in(text: str) -> str:
    plain = _string(text)
    if plain is None:
        plain = text.strip()
    return _NO_MESSAGE if plain in ("", "null") else plain


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
