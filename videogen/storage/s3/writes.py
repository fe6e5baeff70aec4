"""Writes of whole objects: create-only and exact even when answers are lost, or replacing."""

from __future__ import annotations

import mimetypes
import secrets
from collections.abc import Mapping
from typing import Any

from videogen.errors import StorageError
from videogen.storage.base import MissingKeyError
from videogen.storage.s3.failure import ConflictError, PreconditionError, UploadGoneError
from videogen.storage.s3.multipart import MultipartUpload
from videogen.storage.s3.payload import Payload, crc32
from videogen.storage.s3.requests import Backoff, Requests

WRITE_ID = "write-id"
IF_ABSENT: dict[str, Any] = {"IfNoneMatch": "*"}
_ROUNDS = 20


def create(requests: Requests, key: str, payload: Payload, metadata: Mapping[str, str]) -> bool:
    """Store `payload` under `key` if nothing is there, on a store that enforces conditions.

    Every write carries a random id. A refusal may be the answer to the repetition of a write that
    had succeeded; the id of what is stored tells.

    Returns:
        True if what is stored there is ours.
    """
    write_id = secrets.token_hex(16)
    headers = _headers(key, {**metadata, WRITE_ID: write_id})
    backoff = Backoff(requests.options)
    for number in range(_ROUNDS):
        if number and not backoff.wait(requests.options.give_up_s):
            break
        try:
            _send(requests, key, payload, headers, IF_ABSENT)
            return True
        except (PreconditionError, UploadGoneError):
            verdict = _is_ours(requests, key, write_id)
            if verdict is not None:
                return verdict
        except ConflictError:
            requests.counters.add("retries")
    raise StorageError(
        f"creating s3://{requests.bucket}/{key}: got a key that other writers keep creating and "
        "deleting, expected one that stays. Fix: stop whatever else writes there, then run again."
    )


def replace(
    requests: Requests, key: str, payload: Payload, metadata: Mapping[str, str] | None = None
) -> None:
    """Store `payload` under `key`, whatever is there."""
    headers = _headers(key, metadata or {})
    for _ in range(_ROUNDS):
        try:
            _send(requests, key, payload, headers, {})
            return
        except (ConflictError, UploadGoneError):
            requests.counters.add("retries")
    raise StorageError(
        f"writing s3://{requests.bucket}/{key}: got {_ROUNDS} uploads that vanished, expected one "
        "to stay. Fix: stop whatever aborts uploads there (a lifecycle rule of less than a day)."
    )


def _send(
    requests: Requests,
    key: str,
    payload: Payload,
    headers: dict[str, Any],
    conditions: dict[str, Any],
) -> None:
    if payload.size > requests.options.multipart_bytes:
        _send_in_parts(requests, key, payload, headers, conditions)
    else:
        body = payload.read()
        headers = {**headers, "ChecksumAlgorithm": "CRC32", "ChecksumCRC32": crc32(body)}
        requests.send("put_object", key, "writing", Body=body, **headers, **conditions)
    requests.counters.add("bytes_written", payload.size)


def _send_in_parts(
    requests: Requests,
    key: str,
    payload: Payload,
    headers: dict[str, Any],
    conditions: dict[str, Any],
) -> None:
    upload = MultipartUpload(requests, key, **headers)
    try:
        upload.complete(upload.send_parts(payload), **conditions)
    except UploadGoneError:
        raise
    except BaseException:
        upload.abort()
        raise


def _is_ours(requests: Requests, key: str, write_id: str) -> bool | None:
    """Whether the object at `key` is the one written with `write_id`; None if there is none."""
    try:
        return requests.send("head_object", key)["Metadata"].get(WRITE_ID) == write_id
    except MissingKeyError:
        return None


def _headers(key: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    wrong = [name for name, value in metadata.items() if not (name + value).isascii()]
    if wrong:
        raise StorageError(
            f"metadata of {key}: got text outside ASCII in {', '.join(map(repr, wrong))}, expected "
            "ASCII. Fix: keep it in the object itself."
        )
    kind = mimetypes.guess_type(key)[0] or "application/octet-stream"
    return {"Metadata": dict(metadata), "ContentType": kind}
