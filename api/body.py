"""Reading a request's body within a limit, whatever the client declares, sends or compresses."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import IO, TYPE_CHECKING

from orchestrator.errors import RequestError, TooLargeError

if TYPE_CHECKING:
    from wsgiref.types import InputStream, WSGIEnvironment

_CHUNK = 64 * 1024
#: Both gzip and zlib framing, told apart by zlib.
_ANY_FRAMING = 32 + zlib.MAX_WBITS
#: Names and parts of a form; a webhook has a few dozen.
_FORM_FIELDS = 1_000


class UnsupportedEncodingError(RequestError):
    """The body is compressed in a way that is not understood here."""

    status = 415
    code = "unsupported_encoding"


def read_body(environ: WSGIEnvironment, limit: int) -> bytes:
    """Return the whole body, decompressed; one that is too large is refused without being kept.

    Up to twice the limit is read and thrown away: closing the connection on a client that still sends would lose the
    answer.  Of a body larger than that, or one the client offers only to send, nothing is read.
    """
    declared = environ.get("CONTENT_LENGTH")
    stream: InputStream = environ["wsgi.input"]
    try:
        if declared:
            length = _length(declared)
            if length > limit:
                if length <= 2 * limit and "HTTP_EXPECT" not in environ:
                    _discard(stream, length)
                raise _too_large(limit, f"has {length} bytes")
            body = _exactly(stream, length)
        elif environ.get("wsgi.input_terminated"):
            body = _until_end(stream, limit)
        else:
            body = b""  # neither a length nor chunks: HTTP says there is no body
    except (OSError, ValueError) as error:  # what servers raise for broken chunks and lost clients
        raise RequestError("Request body could not be read to its end") from error
    encoding = environ.get("HTTP_CONTENT_ENCODING")
    return _decompressed(body, encoding.strip().lower(), limit) if encoding else body


def read_form(body: bytes, content_type: str, limit: int) -> list[tuple[str, str]]:
    """Return the text fields of an urlencoded or multipart form, in order of their names' first appearance."""
    # Loaded here because few processes ever get a form, and an import costs more than an event.
    from werkzeug.exceptions import RequestEntityTooLarge
    from werkzeug.formparser import FormDataParser
    from werkzeug.http import parse_options_header

    kind, options = parse_options_header(content_type)
    kind = kind.lower()
    if kind != "multipart/form-data" and body.count(b"&") >= _FORM_FIELDS:
        raise TooLargeError(f"the form has more fields than the limit of {_FORM_FIELDS}")
    parser = FormDataParser(max_form_memory_size=limit, max_form_parts=_FORM_FIELDS, silent=False)
    stream: IO[bytes] = BytesIO(body)
    try:
        _, fields, files = parser.parse(stream, kind, len(body), options)
    except RequestEntityTooLarge:
        raise TooLargeError(f"the form has more than {_FORM_FIELDS} fields or one of more than {limit} bytes") from None
    except (ValueError, LookupError) as error:
        raise RequestError(f"Request body is not a valid form: {error}") from None
    for field, file in files.items(multi=True):
        file.close()
        raise RequestError(f'form field "{field}" is a file; an event is made of text fields only')
    return list(fields.items(multi=True))


def _length(declared: str) -> int:
    if not (declared.isascii() and declared.isdecimal() and len(declared) <= 18):
        raise RequestError("Content-Length must be a number of bytes")
    return int(declared)


def _discard(stream: InputStream, length: int) -> None:
    while length > 0 and (piece := stream.read(min(length, _CHUNK))):
        length -= len(piece)


def _exactly(stream: InputStream, length: int) -> bytes:
    body = stream.read(length) if length else b""
    while len(body) < length:
        more = stream.read(length - len(body))
        if not more:
            raise RequestError(f"Request body ended after {len(body)} of {length} bytes")
        body += more
    return body


def _until_end(stream: InputStream, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := stream.read(_CHUNK):
        size += len(piece)
        if size <= limit:
            pieces.append(piece)
        elif size > 2 * limit:
            break
    if size > limit:
        raise _too_large(limit, f"has more than {limit} bytes")
    return b"".join(pieces)


def _decompressed(body: bytes, encoding: str, limit: int) -> bytes:
    if encoding == "identity":
        return body
    if encoding not in ("gzip", "deflate"):
        raise UnsupportedEncodingError("Content-Encoding must be gzip, deflate or identity")
    decoder = zlib.decompressobj(_ANY_FRAMING)
    try:
        plain = decoder.decompress(body, limit + 1)
    except zlib.error:
        raise RequestError(f"Request body is not valid {encoding} data") from None
    if len(plain) > limit:
        raise _too_large(limit, f"has more than {limit} bytes when decompressed")
    if not decoder.eof or decoder.unused_data:
        raise RequestError(f"Request body is not one complete stream of {encoding} data")
    return plain


def _too_large(limit: int, what: str) -> TooLargeError:
    return TooLargeError(f"Request body {what}, the limit is {limit} bytes")
