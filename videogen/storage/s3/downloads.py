"""Reads of whole objects, which go on where a broken connection left them."""

from __future__ import annotations

import io
import zlib
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from botocore.exceptions import BotoCoreError, FlexibleChecksumError
from urllib3.exceptions import HTTPError

from videogen.errors import StorageError
from videogen.storage.failures import storage_errors
from videogen.storage.s3.failure import PreconditionError, S3Error
from videogen.storage.s3.payload import crc32_text
from videogen.storage.s3.requests import Backoff, Requests

CHUNK_BYTES = 1 << 20


def read_bytes(requests: Requests, key: str) -> bytes:
    """Everything stored under `key`."""
    buffer = io.BytesIO()
    _Download(requests, key, buffer).run()
    return buffer.getvalue()


def read_into(requests: Requests, key: str, path: Path) -> None:
    """Write everything stored under `key` to the file `path`; no file is left if that fails."""
    with storage_errors("writing", path), path.open("wb") as file:
        try:
            _Download(requests, key, file).run()
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise


class _Download:
    """One object on its way into `sink`."""

    def __init__(self, requests: Requests, key: str, sink: IO[bytes]) -> None:
        self._requests = requests
        self._key = key
        self._sink = sink
        self._restart()

    def run(self) -> None:
        """Read to the end, however often the connection breaks; patience lasts while more arrives.

        Raises:
            MissingKeyError: there is no such object.
            StorageError: the store failed, or answers too little for too long.
        """
        backoff, furthest = Backoff(self._requests.options), 0
        while not self._read_on():
            if (position := self._sink.tell()) > furthest:
                backoff, furthest = Backoff(self._requests.options), position
            if not backoff.wait(self._requests.options.give_up_s):
                raise StorageError(
                    f"reading s3://{self._requests.bucket}/{self._key}: got {self._sink.tell():,} "
                    "bytes or damaged ones again and again, expected "
                    f"{self._total or 'all'}. Fix: check the network and the store, and run again."
                )
            self._requests.counters.add("retries")

    def _restart(self) -> None:
        self._sink.seek(0)
        self._sink.truncate()
        self._etag = ""
        self._total: int | None = None
        self._crc = 0
        self._expected_crc: str | None = None

    def _read_on(self) -> bool:
        """Read until the end or until the connection breaks; True if all of it is there."""
        started_at = self._sink.tell()
        reply = self._open()
        if reply is None:
            return False
        try:
            for chunk in reply["Body"].iter_chunks(CHUNK_BYTES):
                self._sink.write(chunk)
                self._crc = zlib.crc32(chunk, self._crc)
        except FlexibleChecksumError:
            if started_at == 0:  # else it is the checksum of more than was asked for
                self._restart()
        except (BotoCoreError, HTTPError):
            return False
        finally:
            reply["Body"].close()
        return self._is_whole()

    def _open(self) -> dict[str, Any] | None:
        position = self._sink.tell()
        if not position:
            reply = self._requests.send("get_object", self._key, "reading")
            self._etag, self._total = reply["ETag"], reply["ContentLength"]
            if reply.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
                self._expected_crc = reply.get("ChecksumCRC32")
            return reply
        try:
            return self._requests.send(
                "get_object", self._key, "reading", Range=f"bytes={position}-", IfMatch=self._etag
            )
        except PreconditionError:  # replaced while we read
            self._restart()
        except S3Error as error:
            if error.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            self._restart()
        return None

    def _is_whole(self) -> bool:
        position = self._sink.tell()
        if self._total is None or position < self._total:
            return False
        damaged = self._expected_crc not in (None, crc32_text(self._crc))
        if position > self._total or damaged:
            self._restart()
            return False
        return True
