"""What is told while the database cannot serve: 503 in the shape of whoever was asked, and when to ask again."""

from __future__ import annotations

from orchestrator import log
from orchestrator.store.outage import is_outage

_log = log.get(__name__)

STATUS = 503
CODE = "unavailable"
SENTENCE = "the database cannot be used at this moment; ask again"
#: In seconds.
RETRY_AFTER = ("Retry-After", "2")


def told_outage(error: BaseException, method: str, path: str) -> bool:
    """Whether the error is an outage of the database; the log is told of it, once for each request."""
    if not is_outage(error):
        return False
    reason = str(error).partition("\n")[0]
    _log.warning("database unavailable", method=method, path=path[:200], error=f"{type(error).__name__}: {reason}")
    return True
