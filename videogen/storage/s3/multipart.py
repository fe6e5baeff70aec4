"""Uploads in parts: invisible until complete, aborted when they fail."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from videogen.errors import StorageError
from videogen.storage.s3.failure import UploadGoneError
from videogen.storage.s3.payload import Payload, md5
from videogen.storage.s3.requests import Requests

logger = logging.getLogger(__name__)


class MultipartUpload:
    """One upload under way."""

    def __init__(self, requests: Requests, key: str, **headers: Any) -> None:
        """Begin it; `headers` as of `create_multipart_upload`."""
        self._requests = requests
        self._key = key
        reply = requests.send("create_multipart_upload", key, **headers)
        self._upload: dict[str, Any] = {"Key": key, "UploadId": reply["UploadId"]}

    def send_parts(self, payload: Payload) -> list[dict[str, Any]]:
        """Send all parts, several at a time; returns what `complete` wants to know of them."""
        options = self._requests.options
        parts = payload.parts(options.part_bytes)
        with ThreadPoolExecutor(options.num_threads, "videogen-upload") as threads:
            try:
                return list(threads.map(lambda part: self._send_part(payload, *part), parts))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def complete(self, parts: list[dict[str, Any]], **conditions: Any) -> None:
        """Make the object visible.

        Raises:
            PreconditionError: a condition does not hold.
            ConflictError: another write to the key was under way; the parts have to go up again.
            UploadGoneError: it is complete already, or was aborted by somebody else.
        """
        self._requests.send(
            "complete_multipart_upload",
            self._key,
            "completing",
            retry_conflicts=False,
            UploadId=self._upload["UploadId"],
            MultipartUpload={"Parts": parts},
            **conditions,
        )

    def abort(self) -> None:
        """Throw the parts away; if that fails they stay invisible, and cost until removed."""
        try:
            self._requests.send("abort_multipart_upload", **self._upload)
        except UploadGoneError:
            return
        except StorageError as error:
            logger.warning("an incomplete upload of %s stays behind: %s", self._key, error)

    def _send_part(self, payload: Payload, number: int, start: int, length: int) -> dict[str, Any]:
        body = payload.read(start, length)
        reply = self._requests.send(
            "upload_part",
            self._key,
            "uploading",
            UploadId=self._upload["UploadId"],
            PartNumber=number,
            Body=body,
            ContentMD5=md5(body),
        )
        return {"PartNumber": number, "ETag": reply["ETag"]}
