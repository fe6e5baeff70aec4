"""Sends requests to one bucket until they are answered, with full jitter between the tries."""

from __future__ import annotations

import random
import threading
import time
from http import HTTPStatus
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from videogen.errors import StorageError
from videogen.storage.base import MissingKeyError
from videogen.storage.counters import StorageCounters
from videogen.storage.s3.client import make_client
from videogen.storage.s3.failure import Failure, read_failure
from videogen.storage.s3.options import S3Options


class Backoff:
    """Waits between the tries of one operation, each a random share of a doubling limit."""

    def __init__(self, options: S3Options) -> None:
        self._options = options
        self._limit_s = options.backoff_base_s
        self._started: float | None = None

    def wait(self, give_up_s: float) -> bool:
        """Sleep before the next try; False when the tries have lasted `give_up_s`."""
        now = time.monotonic()
        if self._started is None:
            self._started = now
        delay_s = random.uniform(0, self._limit_s)
        if now - self._started + delay_s > give_up_s:
            return False
        self._limit_s = min(2 * self._limit_s, self._options.backoff_cap_s)
        time.sleep(delay_s)
        return True


class Requests:
    """The requests of one process to one bucket; safe to use from many threads."""

    def __init__(self, bucket: str, options: S3Options, counters: StorageCounters) -> None:
        self.bucket = bucket
        self.options = options
        self.counters = counters
        self._client: Any = None
        self._lock = threading.Lock()
        self._was_answered = False
        self._is_bucket_known = False

    @property
    def client(self) -> Any:
        """The boto3 client, made at its first use."""
        with self._lock:
            if self._client is None:
                self._client = make_client(self.options, self.counters)
            return self._client

    def send(
        self,
        operation: str,
        key: str = "",
        action: str = "",
        *,
        retry_conflicts: bool = True,
        **parameters: Any,
    ) -> dict[str, Any]:
        """Send `operation` (a method of the client) until it is answered.

        Args:
            key: full name in the bucket, for the message; also sent where `parameters` lack it.
            action: what the message says was tried; the operation's name if left out.
            retry_conflicts: False where a conflict takes more than the same request again.

        Raises:
            MissingKeyError: there is no such key.
            UploadGoneError: there is no such upload.
            PreconditionError: a condition does not hold. May be answered to the second try of a
                write whose first answer was lost.
            ConflictError: another write to that key was under way, and for long.
            StorageError: refused, or no answer within the time there is.
        """
        if key:
            parameters.setdefault("Key", key)
        backoff = Backoff(self.options)
        while True:
            failure = self._try(operation, parameters)
            if not isinstance(failure, Failure):
                return failure
            if failure.status == HTTPStatus.CONFLICT and not retry_conflicts:
                break
            if not (failure.is_transient and backoff.wait(self.give_up_s(failure))):
                break
            self.counters.add("retries")
        # Raised out here: neither cause nor context of the error shows what botocore knew.
        error = failure.error(action or operation.replace("_", " "), f"s3://{self.bucket}/{key}")
        if isinstance(error, MissingKeyError) and operation == "head_object":
            self._check_bucket()  # the answer to HEAD does not say what is missing
        raise error

    def give_up_s(self, failure: Failure) -> float:
        """How long to try again after `failure`."""
        if failure.is_unreachable and not self._was_answered:
            return self.options.first_contact_s
        return self.options.give_up_s

    def _try(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any] | Failure:
        client = self.client
        try:
            reply = getattr(client, operation)(Bucket=self.bucket, **parameters)
        except (BotoCoreError, ClientError) as error:
            failure = read_failure(error, operation)
            self._was_answered |= failure.status > 0
            return failure
        self._was_answered = self._is_bucket_known = True
        return reply

    def _check_bucket(self) -> None:
        if self._is_bucket_known:
            return
        answer = self._try("head_bucket", {})
        if isinstance(answer, Failure) and answer.status == HTTPStatus.NOT_FOUND:
            raise StorageError(
                f"s3://{self.bucket}: got NoSuchBucket, expected a bucket. Fix: create the bucket, "
                "or check its name."
            )
