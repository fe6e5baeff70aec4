"""Finds out what a store makes of conditional writes: some ignore them, some refuse them."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from typing import Any

from videogen.errors import StorageError
from videogen.storage.s3.failure import PreconditionError, S3Error
from videogen.storage.s3.multipart import MultipartUpload
from videogen.storage.s3.payload import Payload
from videogen.storage.s3.requests import Requests
from videogen.storage.s3.writes import IF_ABSENT, replace

logger = logging.getLogger(__name__)

PROBE_PREFIX = ".probe-"
_REFUSALS = (304, 400, 405, 501)
_SMALL = Payload(b"videogen looks whether this store enforces conditional writes")


@dataclass(frozen=True)
class Capabilities:
    """What a store enforces: `If-None-Match` on both kinds of upload, and `If-Match`."""

    create_only: bool
    compare_and_swap: bool


def probe(requests: Requests, folder: str) -> Capabilities:
    """Write a small object below `folder` ("" or ending in a slash), try to replace it, remove it.

    Raises:
        StorageError: the store cannot be written at all.
    """
    key = f"{folder}{PROBE_PREFIX}{secrets.token_hex(8)}"
    replace(requests, key, _SMALL)
    try:
        return Capabilities(
            create_only=_enforces(requests, key, IF_ABSENT) and _enforces_in_parts(requests, key),
            compare_and_swap=_enforces(requests, key, {"IfMatch": '"0"'}),
        )
    finally:
        _remove(requests, key)


def _enforces(requests: Requests, key: str, condition: dict[str, Any]) -> bool:
    try:
        requests.send("put_object", key, "probing", Body=_SMALL.read(), **condition)
    except PreconditionError:
        return True
    except S3Error as error:
        if error.status not in _REFUSALS:
            raise
    return False


def _enforces_in_parts(requests: Requests, key: str) -> bool:
    try:
        upload = MultipartUpload(requests, key)
        try:
            upload.complete(upload.send_parts(_SMALL), **IF_ABSENT)
        except PreconditionError:
            upload.abort()
            return True
        except BaseException:
            upload.abort()
            raise
    except S3Error as error:
        if error.status not in _REFUSALS:
            raise
    return False


def _remove(requests: Requests, key: str) -> None:
    try:
        requests.send("delete_object", key, "deleting")
    except StorageError as error:
        logger.warning("the probe s3://%s/%s stays behind: %s", requests.bucket, key, error)
