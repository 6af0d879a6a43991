"""Bodies of the event API: pieces, chunks, forms, compression and their limits."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.api.event_server import FORM, SMALL, Broken, EventServer, Trickle


def test_a_body_that_comes_in_pieces_is_put_together() -> None:
    body = b'{"name":"a","data":{"x":"yyyyyyyyyyyyyyyy"}}'

    answer = EventServer().ask({"CONTENT_LENGTH": str(len(body))}, Trickle(body))

    assert 200 == answer.status


def test_no_more_is_read_than_declared() -> None:
    """What follows belongs to the next request of the connection."""
    stream = Trickle(b'{"name":"a"}POST /e/key HTTP/1.1')

    answer = EventServer().ask({"CONTENT_LENGTH": "12"}, stream)

    assert (200, 12) == (answer.status, stream.taken)


def test_a_chunked_body_is_read_to_its_end() -> None:
    answer = EventServer().ask({"wsgi.input_terminated": True}, Trickle(b'{"name":"a"}'))

    assert 200 == answer.status


def test_without_length_or_chunks_there_is_no_body() -> None:
    answer = EventServer().ask({}, Broken())

    assert (400, "Request body is empty") == (answer.status, answer.error[:21])


@pytest.mark.parametrize(
    ("length", "environ", "taken"),
    [(1_001, {}, 1_001), (2_000, {}, 2_000), (2_001, {}, 0), (1_001, {"HTTP_EXPECT": "100-continue"}, 0)],
)
def test_a_body_too_large_is_thrown_away_up_to_a_bound(length: int, environ: dict[str, str], taken: int) -> None:
    """A client that sends all before it listens still hears the answer; nobody makes us read without end."""
    stream = Trickle(b"[" * 3_000)

    answer = EventServer(SMALL).ask({"CONTENT_LENGTH": str(length), **environ}, stream)

    assert (413, taken) == (answer.status, stream.taken)
    assert f"Request body has {length} bytes, the limit is 1000 bytes" == answer.error


def test_a_chunked_body_too_large_is_thrown_away_up_to_a_bound() -> None:
    stream = Trickle(b"[" * 100_000, step=600)

    answer = EventServer(SMALL).ask({"wsgi.input_terminated": True}, stream)

    assert (413, 2_400) == (answer.status, stream.taken)
    assert "Request body has more than 1000 bytes, the limit is 1000 bytes" == answer.error


def test_a_small_body_that_decompresses_beyond_the_limit_is_too_large() -> None:
    answer = EventServer(SMALL).post(gzip.compress(b" " * 100_000, mtime=0), HTTP_CONTENT_ENCODING="gzip")

    assert (413, "has more than 1000 bytes when decompressed") == (answer.status, answer.error[13:55])


def test_an_urlencoded_form_is_one_event() -> None:
    server = EventServer()

    answer = server.post("name=form%2Fsent&user_id=7&note=caf%C3%A9+au+lait", CONTENT_TYPE=f"{FORM}; charset=utf-8")

    (event,) = server.stored
    assert (200, "form/sent") == (answer.status, event.name)
    assert {"user_id": "7", "note": "café au lait"} == json.loads(event.data)


def multipart(*parts: tuple[str, str]) -> bytes:
    written = "".join(f"--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n" for head, text in parts)
    return f"{written}--b--\r\n".encode()


def test_a_multipart_form_is_one_event() -> None:
    server = EventServer()
    body = multipart(('name="name"', "a"), ('name="data"', '{"n":123456789012345678901}'), ('name="x"', "é"))

    answer = server.post(body, CONTENT_TYPE="Multipart/Form-Data; boundary=b")

    assert (200, '{"n":123456789012345678901,"x":"é"}') == (answer.status, server.stored[0].data)


def test_a_file_in_a_form_is_refused_by_name() -> None:
    body = multipart(('name="name"', "a"), ('name="avatar"; filename="me.png"', "PNG"))

    answer = EventServer().post(body, CONTENT_TYPE="multipart/form-data; boundary=b")

    assert (400, 'form field "avatar" is a file; an event is made of text fields only') == (answer.status, answer.error)


@pytest.mark.parametrize("kind", [FORM, "multipart/form-data; boundary=b"])
def test_a_form_of_too_many_fields_is_too_large(kind: str) -> None:
    body = b"a=&" * 1_001 if kind == FORM else multipart(*[('name="a"', "")] * 1_001)

    answer = EventServer().post(body, CONTENT_TYPE=kind)

    assert (413, True) == (answer.status, "1000" in answer.error)


# --- faults of ours
