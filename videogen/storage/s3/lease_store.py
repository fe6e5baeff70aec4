"""The lease as an object: read with its ETag, replaced only if that is unchanged."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from videogen.storage.base import MissingKeyError
from videogen.storage.lease import Stored
from videogen.storage.s3.failure import ConflictError, PreconditionError, S3Error
from videogen.storage.s3.requests import Requests
from videogen.storage.s3.writes import IF_ABSENT


class S3LeaseStore:
    """One key of a bucket, with requests that are short: a lease does not outlast long ones."""

    def __init__(self, requests: Requests, key: str, conditional: bool) -> None:
        """Use `key`; where the store is not `conditional`, writes are checked by reading back."""
        options = requests.options
        short = dataclasses.replace(
            options,
            connect_timeout_s=min(options.connect_timeout_s, options.renew_s),
            read_timeout_s=min(options.read_timeout_s, options.renew_s),
            max_attempts=1,
            give_up_s=0.0,
            first_contact_s=0.0,
        )
        self._requests = Requests(requests.bucket, short, requests.counters)
        self._settle_s = options.settle_s
        self._key = key
        self.conditional = conditional

    def read(self) -> Stored | None:
        """What is there and its ETag; None if nothing is."""
        try:
            reply = self._requests.send("get_object", self._key, "reading")
        except MissingKeyError:
            return None
        data = _content(reply["Body"])
        if data is None:
            raise S3Error(
                f"reading s3://{self._requests.bucket}/{self._key}: got half an answer, expected "
                "all of it. Fix: check the network to the store."
            )
        return Stored(data, reply["ETag"])

    def write(self, data: bytes, expected: str | None, contended: bool) -> str | None:
        """Replace what has the ETag `expected` (None: nothing); None if something else is there.

        Args:
            contended: others may want it at this moment.

        Returns:
            The new ETag.
        """
        if not self.conditional:
            return self._write_and_look(data, expected, contended)
        condition: dict[str, Any] = IF_ABSENT if expected is None else {"IfMatch": expected}
        try:
            return self._put(data, condition)
        except (PreconditionError, ConflictError, MissingKeyError):
            return None

    def _put(self, data: bytes, condition: dict[str, Any]) -> str:
        return self._requests.send("put_object", self._key, "writing", Body=data, **condition)[
            "ETag"
        ]

    def _write_and_look(self, data: bytes, expected: str | None, contended: bool) -> str | None:
        found = self.read()
        if (found and found.tag) != expected:
            return None
        tag = self._put(data, {})
        if contended:
            time.sleep(self._settle_s)
        found = self.read()
        return tag if found and found.data == data else None


def _content(body: Any) -> bytes | None:
    """All of a reply's body; None if it breaks off."""
    with body:
        try:
            return body.read()
        except (BotoCoreError, HTTPError):
            return None
