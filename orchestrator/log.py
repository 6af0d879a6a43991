"""Structured log records: a constant text and keywords in, one line out, secrets never.

`log = orchestrator.log.get(__name__)` at the top of a module costs nothing: structlog, which takes a record from there
to the line (time, level, traceback, rendering), is loaded by `configure`, once per process.  Until then records go to
the standard library's logging, so a user's process that merely imports our SDK logs the way its owner arranged.
A record below the level asked for ends at one comparison of integers.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, TextIO

from orchestrator.masking import MASK, mask_urls

if TYPE_CHECKING:
    import logging

    from structlog.typing import FilteringBoundLogger

Record = MutableMapping[str, Any]
Render = Callable[[dict[str, Any]], str | None]
Context = Mapping[str, object]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

_context: ContextVar[Context] = ContextVar("orchestrator_log", default={})  # noqa: B039 never changed in place
_SECRET_NAME = re.compile(r"(?:^|[_\W])(?:keys?|tokens?|secrets?|passwords?|passwd|authorization|signature|cookie)$")
_SIGNING_KEY = re.compile(r"(signkey-\w+?-)[0-9a-fA-F]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class BoundLogger:
    """A logger with a name and, perhaps, keywords that go with each of its records."""

    __slots__ = ("_bound", "_name")

    def __init__(self, name: str, bound: Context | None = None) -> None:
        self._name = name
        self._bound = bound or {}

    def bind(self, **keywords: object) -> BoundLogger:
        """Another logger whose records carry these keywords too."""
        return BoundLogger(self._name, {**self._bound, **keywords})

    def debug(self, text: str, /, **keywords: object) -> None:
        """Record a detail for whoever looks for a fault."""
        if _output.threshold <= 10:
            self._record("debug", text, keywords)

    def info(self, text: str, /, **keywords: object) -> None:
        """Record that something changed as it should."""
        if _output.threshold <= 20:
            self._record("info", text, keywords)

    def warning(self, text: str, /, **keywords: object) -> None:
        """Record what we cope with, but somebody may look at."""
        if _output.threshold <= 30:
            self._record("warning", text, keywords)

    def error(self, text: str, /, **keywords: object) -> None:
        """Record a bug of ours."""
        if _output.threshold <= 40:
            self._record("error", text, keywords)

    def exception(self, text: str, /, **keywords: object) -> None:
        """Record a bug of ours with the traceback of the exception in flight."""
        self.error(text, **{"exc_info": True, **keywords})

    def _record(self, level: str, text: str, keywords: Context) -> None:
        chain = _output.chain
        everything = {"logger": self._name, **_context.get(), **self._bound, **keywords}
        if chain is None:
            _to_stdlib(self._name, level, text, everything)
        else:
            exc_info = everything.pop("exc_info", None)
            getattr(chain, level)(text, keywords=everything, exc_info=exc_info)


class _Output:
    """Where records of this process go; the one thing here that changes, and only by `configure` and `reset`."""

    def __init__(self) -> None:
        self.threshold = 0
        self.chain: FilteringBoundLogger | None = None
        self.from_stdlib: logging.Handler | None = None


_output = _Output()


def get(name: str) -> BoundLogger:
    """The logger of a module; costs nothing and may be called before `configure`."""
    return BoundLogger(name)


def configure(render: Render, level: str = "info", stream: TextIO | None = None) -> None:
    """Send records of `level` and above through `render` to `stream` (default: standard error), a line each.

    `render` returns None for what need not be shown.  Warnings of libraries that use the standard library's logging
    arrive too.  A second call replaces the first.
    """
    import structlog

    reset()
    lines = _Lines(stream or sys.stderr)
    _output.chain = structlog.wrap_logger(
        lines,
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _flatten,
            _mask_secrets,
            _rendered_by(render),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        context_class=dict,
    ).bind()
    _output.threshold = LEVELS[level]
    _output.from_stdlib = _listen_to_stdlib()


def reset() -> None:
    """Undo `configure`: records go to the standard library's logging again."""
    if _output.from_stdlib is not None:
        import logging

        logging.getLogger().removeHandler(_output.from_stdlib)
    _output.threshold, _output.chain, _output.from_stdlib = 0, None, None


def render_json(record: dict[str, Any]) -> str:
    """One record as one line of JSON; what JSON has no form for is written as text."""
    import orjson

    try:
        return orjson.dumps(record, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # A lone surrogate or an integer over 64 bits, somewhere inside.
        return orjson.dumps({str(k): _printable(v) for k, v in record.items()}).decode()


def bind(**keywords: object) -> Token[Context]:
    """Put keywords on every record of this thread or task until `unbind` is given the token."""
    return _context.set({**_context.get(), **keywords})


def unbind(token: Token[Context]) -> None:
    """Go back to what was bound before the `bind` that gave the token."""
    _context.reset(token)


@contextmanager
def bound(**keywords: object) -> Iterator[None]:
    """Put keywords on every record within the block."""
    token = bind(**keywords)
    try:
        yield
    finally:
        unbind(token)


def mask(value: object, name: str = "") -> object:
    """The value as it may be logged: hidden where the name says secret, without the passwords and keys in its texts."""
    if name and _is_secret(name) and value is not None and value != "":
        return MASK
    if isinstance(value, str):
        shown = mask_urls(value)
        return _SIGNING_KEY.sub(rf"\1{MASK}", shown) if "signkey-" in shown else shown
    if isinstance(value, Mapping):
        return {k: mask(v, str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask(item) for item in value]
    return value


_secret_names: dict[str, bool] = {}


def _is_secret(name: str) -> bool:
    known = _secret_names.get(name)
    if known is None:
        known = _SECRET_NAME.search(_CAMEL.sub("_", name).lower()) is not None
        if len(_secret_names) < 1000:  # Names inside headers come from outside: the table must not grow with them.
            _secret_names[name] = known
    return known


def _printable(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


# structlog's processors.


def _flatten(_logger: object, _method: str, record: Record) -> Record:
    """Time, level and text first, then the keywords; theirs is the name `event`, which structlog uses for the text."""
    first = {"timestamp": record["timestamp"], "level": record["level"], "message": record["event"]}
    last = {"exception": record["exception"]} if "exception" in record else {}
    return {**first, **record["keywords"], **first, **last}


def _mask_secrets(_logger: object, _method: str, record: Record) -> Record:
    return {name: value if type(value) is int else mask(value, name) for name, value in record.items()}


def _rendered_by(render: Render) -> Callable[[object, str, Record], str]:
    from structlog import DropEvent

    def last(_logger: object, _method: str, record: Record) -> str:
        try:
            line = render(dict(record))
        except Exception as error:  # A value that cannot even be printed must not end the run that logged it.
            failed = f"({type(error).__name__} in its rendering)"
            line = f"{record['timestamp']} {record['level']} {record['message']!a} {failed}"
        if line is None:
            raise DropEvent
        return line

    return last


class _Lines:
    """A stream that gets whole lines, one at a time, and whose failure never becomes the program's."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        with self._lock, suppress(OSError, ValueError):  # The reader went away, or the stream was closed.
            try:
                self._stream.write(line + "\n")
            except UnicodeEncodeError:
                encoding = self._stream.encoding or "ascii"
                self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = write


# The standard library's logging, in both directions.


def _to_stdlib(name: str, level: str, text: str, keywords: dict[str, Any]) -> None:
    import logging

    logger = logging.getLogger(name)
    if logger.isEnabledFor(LEVELS[level]):
        exc_info = keywords.pop("exc_info", None)
        shown = " ".join(f"{k}={mask(v, k)}" for k, v in keywords.items() if k != "logger")
        logger.log(LEVELS[level], "%s", f"{text} {shown}".rstrip(), exc_info=exc_info)


def _listen_to_stdlib() -> logging.Handler:
    import logging

    class FromStdlib(logging.Handler):
        """Takes the records of libraries."""

        def emit(self, record: logging.LogRecord) -> None:
            try:
                level = "error" if record.levelno >= logging.ERROR else "warning"
                getattr(get(record.name), level)(record.getMessage(), exc_info=record.exc_info)
            except Exception:
                self.handleError(record)

    handler = FromStdlib(logging.WARNING)
    logging.getLogger().addHandler(handler)
    return handler
