"""What a failed libcurl request means, as a code for programs and half a sentence for people."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pycurl


def explain(curl: Any, error: pycurl.error, timeout: timedelta, connect_timeout: timedelta) -> tuple[str, str]:
    """Tell the code and what happened; `curl` is the handle that has just failed."""
    number, said = error.args[0], str(error.args[1] if len(error.args) > 1 else "").rstrip(".")
    if number == pycurl.E_OPERATION_TIMEDOUT:
        return "timeout", _timed_out(curl, timeout, connect_timeout)
    if number == pycurl.E_COULDNT_CONNECT:
        return "unreachable", _not_connected(curl.getinfo(pycurl.OS_ERRNO))
    if number == pycurl.E_RECV_ERROR and "too large" in said.lower():
        number = _TOO_LARGE  # how libcurl 8.23 tells of too many headers, as against too long ones
    code, phrase = _MEANING.get(number, ("unreachable", _quote("the request failed")))
    return code, phrase(said)


def _timed_out(curl: Any, timeout: timedelta, connect_timeout: timedelta) -> str:
    # The times libcurl tells are no help: on a kept-alive connection that of connecting is 0 as if there were none.
    if curl.getinfo(pycurl.REQUEST_SIZE) > 0:
        return f"it did not answer in full within {timeout.total_seconds():g} s"
    return f"no connection could be made within {connect_timeout.total_seconds():g} s"


def _not_connected(number: int) -> str:
    if number == errno.ECONNREFUSED:
        return "the connection was refused, nothing listens there"
    return f"no connection could be made ({os.strerror(number)})" if number else "no connection could be made"


def _quote(sentence: str) -> Callable[[str], str]:
    return lambda said: f"{sentence} ({said})" if said else sentence


def _plain(sentence: str) -> Callable[[str], str]:
    return lambda _said: sentence


#: `E_TOO_LARGE` has no name in pycurl 7.49.
_TOO_LARGE: Final = 100

_TLS: Final = (
    pycurl.E_SSL_CONNECT_ERROR,
    pycurl.E_PEER_FAILED_VERIFICATION,
    pycurl.E_SSL_CERTPROBLEM,
    pycurl.E_SSL_CIPHER,
    pycurl.E_SSL_CACERT_BADFILE,
    pycurl.E_SSL_ISSUER_ERROR,
    pycurl.E_SSL_INVALIDCERTSTATUS,
)

_MEANING: Final[dict[int, tuple[str, Callable[[str], str]]]] = {
    pycurl.E_COULDNT_RESOLVE_HOST: ("unreachable", _plain("the name could not be resolved")),
    pycurl.E_URL_MALFORMAT: ("invalid_url", _quote("the URL cannot be read")),
    pycurl.E_GOT_NOTHING: ("closed_without_answer", _plain("the connection was closed before an answer came")),
    pycurl.E_RECV_ERROR: ("closed_without_answer", _quote("the connection broke before the whole answer came")),
    pycurl.E_SEND_ERROR: ("closed_without_answer", _quote("the connection broke while the request was sent")),
    pycurl.E_PARTIAL_FILE: ("closed_without_answer", _quote("the connection was closed in the middle of the answer")),
    pycurl.E_UNSUPPORTED_PROTOCOL: ("malformed_answer", _plain("what came back is not HTTP")),
    pycurl.E_FTP_WEIRD_SERVER_REPLY: ("malformed_answer", _quote("what came back is not valid HTTP")),
    pycurl.E_BAD_CONTENT_ENCODING: ("malformed_answer", _quote("the answer's encoding cannot be read")),
    _TOO_LARGE: ("response_too_large", _quote("the headers of the answer are too large")),
    **{number: ("tls_error", _quote("no secure connection could be made")) for number in _TLS},
}
