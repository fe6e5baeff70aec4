"""`s3://bucket/prefix`, taken apart and checked."""

from __future__ import annotations

import re
from typing import NamedTuple

from videogen.errors import StorageError
from videogen.storage.base import check_key

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_EXAMPLE = "s3://bucket/prefix"


class S3Address(NamedTuple):
    """A bucket and a prefix in it, "" for all of it; the prefix has no slash at its ends."""

    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def name(self, key: str) -> str:
        """The full name of `key` in the bucket."""
        return f"{self.prefix}/{key}" if self.prefix else key


def parse_address(uri: str) -> S3Address:
    """Take `s3://bucket/prefix` apart.

    Raises:
        StorageError: it is no such address, or it carries credentials or a signature.
    """
    _, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket:
        raise StorageError(
            f"address: got s3://… with credentials in it, expected {_EXAMPLE}. Fix: keep them in "
            "the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE) and out of addresses."
        )
    if "?" in rest or "#" in rest:
        raise StorageError(
            f"address: got s3://… with a query behind '?' or '#', expected {_EXAMPLE}. Fix: leave "
            "it out; a signed link is no address."
        )
    if not _BUCKET.fullmatch(bucket):
        raise StorageError(
            f"address: got the bucket {bucket[:80]!r}, expected 3 to 63 lower-case letters, "
            f"digits, '.' and '-', as in {_EXAMPLE}. Fix: check the name of the bucket."
        )
    prefix = prefix.strip("/")
    return S3Address(bucket, check_key(prefix) if prefix else "")
