"""An S3 server on loopback, in a process of its own that ends with the one that started it.

Run as a program it serves until its standard input closes. It is moto behind a small gate that
makes it as strict as S3: moto checks a condition and stores in two steps, and stores what arrives
of a body that was cut short.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import secrets
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

ACCESS_KEY, SECRET_KEY, REGION = "testing", "planted-secret-of-the-tests", "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """A running server with one bucket; every test takes a prefix of its own."""

    endpoint: str
    bucket: str
    pid: int
    env: dict[str, str] = field(repr=False, default_factory=dict)

    def uri(self, prefix: str | None = None) -> str:
        """An address in the bucket; without `prefix` one that nothing else uses."""
        return f"s3://{self.bucket}/{prefix or secrets.token_hex(8)}"

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """What a client needs in its environment; `endpoint` for one that goes through a proxy."""
        return {**self.env, "AWS_ENDPOINT_URL": endpoint or self.endpoint}

    def client(self) -> Any:
        """A client of the server itself, past every proxy."""
        return make_client(self.endpoint)


def make_client(endpoint: str) -> Any:
    import boto3

    return boto3.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )


def environment(endpoint: str) -> dict[str, str]:
    """Everything a client reads, so that nothing of the machine's own configuration counts."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@contextlib.contextmanager
def running_server(bucket: str = "videogen-tests") -> Iterator[S3Server]:
    """Start a server with an empty bucket and stop it at the end."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C of a test run is for the tests
    )
    assert process.stdin
    assert process.stdout
    try:
        endpoint = json.loads(process.stdout.readline())["endpoint"]
        make_client(endpoint).create_bucket(Bucket=bucket)
        yield S3Server(endpoint, bucket, process.pid, environment(endpoint))
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


class Gate:
    """Takes whole, undamaged requests one at a time to the application behind it."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = _read(environ["wsgi.input"], length)
        if len(body) < length:
            return _refuse(start, "IncompleteBody")
        expected = environ.get("HTTP_X_AMZ_CHECKSUM_CRC32")
        if expected and expected != crc32(body):
            return _refuse(start, "BadDigest")
        environ["wsgi.input"] = io.BytesIO(body)
        with self._lock:
            return list(self._application(environ, start))


def crc32(data: bytes) -> str:
    """CRC-32 as S3 writes it."""
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def _read(stream: Any, length: int) -> bytes:
    try:
        return stream.read(length) if length else b""
    except (OSError, ValueError):
        return b""


def _refuse(start: Callable[..., Any], code: str) -> Iterable[bytes]:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
    start("400 Bad Request", [("Content-Type", "application/xml")])
    return [text.encode()]


def main() -> None:
    """Serve on a free port, say which, and end with whoever holds the other end of stdin."""
    import logging

    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    gate = Gate(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, gate, True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(json.dumps({"endpoint": f"http://127.0.0.1:{server.port}"}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
