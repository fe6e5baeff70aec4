"""What is to be stored, in memory or in a file, cut into parts with their checksums."""

from __future__ import annotations

import base64
import hashlib
import zlib
from pathlib import Path

from videogen.storage.failures import storage_errors

MAX_PARTS = 10_000  # of S3


class Payload:
    """Bytes to store; a file is read a part at a time."""

    def __init__(self, data: bytes | Path) -> None:
        """Look at the size of `data`.

        Raises:
            MissingKeyError: there is no such file.
        """
        self._data = data
        if isinstance(data, Path):
            with storage_errors("reading", data):
                self.size = data.stat().st_size
        else:
            self.size = len(data)

    def read(self, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `start`, all of them if None.

        Raises:
            StorageError: the file cannot be read.
        """
        length = self.size if length is None else length
        if not isinstance(self._data, Path):
            return self._data[start : start + length]
        with storage_errors("reading", self._data), self._data.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def parts(self, part_bytes: int) -> list[tuple[int, int, int]]:
        """(number from 1, start, length) of every part; larger ones if there were too many."""
        part_bytes = max(part_bytes, -(-self.size // MAX_PARTS))
        starts = range(0, self.size, part_bytes)
        return [
            (number, start, min(part_bytes, self.size - start))
            for number, start in enumerate(starts, start=1)
        ]


def crc32_text(crc: int) -> str:
    """A CRC-32 as S3 writes it."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode()


def crc32(data: bytes) -> str:
    """CRC-32 of `data` as S3 writes it."""
    return crc32_text(zlib.crc32(data))


def md5(data: bytes) -> str:
    """MD5 of `data` for the header field `Content-MD5`, which every store checks."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
