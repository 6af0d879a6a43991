"""What the HTTP client says when there is no answer, against real sockets."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.drivers.curl import CurlClient
from tests.drivers.asking import OPEN, SOON, failure

SELF_SIGNED = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
)


class TestFailures:
    def test_a_refused_connection_is_told(self, client) -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            error = failure(client, f"http://127.0.0.1:{port}/api")

        assert "unreachable" == error.code
        assert f"No answer from 127.0.0.1:{port}: the connection was refused, nothing listens there." == error.message

    def test_an_unknown_name_is_told(self, client) -> None:
        error = failure(client, "https://nowhere.invalid/api?key=secret")

        assert ("unreachable", "No answer from nowhere.invalid:443: the name could not be resolved.") == (
            error.code,
            error.message,
        )

    def test_closing_without_a_word_is_told(self, client, reply_with) -> None:
        error = failure(client, reply_with(b"").url)

        assert "closed_without_answer" == error.code
        assert error.message.endswith("the connection was closed before an answer came.")

    def test_a_reset_is_told(self, client, serve) -> None:
        def reset(connection, _received) -> bool:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False

        assert "closed_without_answer" == failure(client, serve(reset).url).code

    def test_half_an_answer_is_none(self, client, reply_with) -> None:
        error = failure(client, reply_with(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").url)

        assert "closed_without_answer" == error.code
        assert "in the middle of the answer" in error.message

    @pytest.mark.parametrize(
        "garbage", [b"\x00\x01\x02garbage\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 xyz\r\n\r\n"]
    )
    def test_what_is_not_http_is_told(self, client, reply_with, garbage: bytes) -> None:
        error = failure(client, reply_with(garbage).url)

        assert ("malformed_answer", True) == (error.code, "not" in error.message)

    @pytest.mark.parametrize("url", ["http://", "http://[::1", "http://host:99999/", "http://a b/", "http://h/\nx"])
    def test_a_broken_url_is_told(self, client, url: str) -> None:
        assert "invalid_url" == failure(client, url).code

    def test_credentials_in_a_url_stay_out_of_sentences(self, client) -> None:
        error = failure(client, "http://user:hunter2@nowhere.invalid/?token=hunter2")

        assert "hunter2" not in error.message


class TestTls:
    @pytest.fixture
    def secure(self, tmp_path):
        """A TLS server with a certificate of its own making; yields its port and the certificate's file."""
        if shutil.which("openssl") is None:
            pytest.skip("the openssl program makes the certificate")
        certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
        subprocess.run(
            [*SELF_SIGNED.split(), "-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        listener = socket.create_server(("127.0.0.1", 0))

        def accept() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(plain, server_side=True) as connection:
                        connection.recv(65536)
                        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                        connection.recv(1)
                except OSError:
                    plain.close()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], str(certificate)
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    def test_a_certificate_nobody_vouches_for_is_refused(self, client, secure) -> None:
        error = failure(client, f"https://localhost:{secure[0]}/")

        assert "tls_error" == error.code
        assert "certificate" in error.message

    def test_a_certificate_of_a_known_authority_is_taken(self, secure) -> None:
        client = CurlClient(policy=OPEN, ca_file=secure[1])

        assert b"ok" == client.request("GET", f"https://localhost:{secure[0]}/", headers={}, timeout=SOON).body

    def test_a_certificate_of_another_name_is_refused(self, secure) -> None:
        client = CurlClient(policy=OPEN, ca_file=secure[1])

        assert "tls_error" == failure(client, f"https://127.0.0.1:{secure[0]}/").code

    def test_a_server_without_tls_is_told(self, client) -> None:
        with socket.create_server(("127.0.0.1", 0)) as plain, ThreadPoolExecutor(1) as pool:
            request = pool.submit(failure, client, f"https://127.0.0.1:{plain.getsockname()[1]}")
            connection, _ = plain.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                error = request.result(20)

        assert "tls_error" == error.code
