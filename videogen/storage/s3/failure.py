"""Turns what botocore raises into `StorageError`s that say what to do and tell no secret."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from botocore import exceptions as boto

from videogen.errors import StorageError
from videogen.storage.base import MissingKeyError

_NO_KEY = frozenset({"NoSuchKey", "404", "NotFound"})
_TRANSIENT_CODES = frozenset(
    {
        "BadDigest",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
_TRANSIENT_ERRORS = (
    boto.ConnectionError,  # also: no such host, refused, timed out while connecting
    boto.HTTPClientError,  # also: closed, timed out while reading
    boto.ResponseStreamingError,
    boto.IncompleteReadError,
)
_REGION_CODES = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "301",
        "307",
    }
)
_CREDENTIAL_CODES = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
        "InvalidSecurity",
        "UnrecognizedClientException",
        "Unauthorized",
        "401",
    }
)
_CREDENTIAL_ERRORS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
    boto.SSOError,
)
_FULL_CODES = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"})
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_CREDENTIAL_FIX = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN where they are "
    "temporary), choose a profile with AWS_PROFILE, or run where a role gives them"
)
_PERMISSIONS = {
    "put_object": "s3:PutObject",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
    "delete_object": "s3:DeleteObject",
    "get_object": "s3:GetObject and s3:ListBucket",
    "head_object": "s3:GetObject and s3:ListBucket",
    "head_bucket": "s3:ListBucket",
    "list_objects_v2": "s3:ListBucket",
}


class S3Error(StorageError):
    """A store refused a request; `status` is that of HTTP, 0 where no answer came."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class PreconditionError(S3Error):
    """The condition of a write does not hold: the key exists, or has changed."""


class ConflictError(S3Error):
    """Another write to the same key was under way at the same time."""


class UploadGoneError(S3Error):
    """The upload in parts is no more: it was completed or aborted."""


@dataclass(frozen=True)
class Failure:
    """What is known of a request that failed."""

    status: int
    code: str
    detail: str
    fix: str
    is_transient: bool
    is_unreachable: bool = False

    def error(self, action: str, place: str) -> StorageError:
        """The error to raise for `action` on `place`."""
        if self.status == HTTPStatus.NOT_FOUND and self.code in _NO_KEY:
            return MissingKeyError(
                f"{action} {place}: got nothing under that key, expected an object. Fix: check "
                "the address, or make it again if it was deleted."
            )
        found = self.code if not self.detail else f"{self.code} ({self.detail})"
        return self._kind()(
            f"{action} {place}: got {found}, expected success. Fix: {self.fix}.",
            self.status,
            self.code,
        )

    def _kind(self) -> type[S3Error]:
        if self.code == "NoSuchUpload":
            return UploadGoneError
        kinds: dict[int, type[S3Error]] = {412: PreconditionError, 409: ConflictError}
        return kinds.get(self.status, S3Error)


def read_failure(error: Exception, operation: str) -> Failure:
    """What botocore's `error` of `operation` means."""
    if isinstance(error, boto.ClientError):
        return _refusal(error.response, operation)
    name = type(error).__name__
    if isinstance(error, _CREDENTIAL_ERRORS):
        return Failure(0, "no usable credentials", name, _CREDENTIAL_FIX, is_transient=False)
    if isinstance(error, boto.SSLError):
        fix = "check the certificate of the endpoint, or name its authority in AWS_CA_BUNDLE"
        return Failure(0, "no trusted connection", redacted(str(error)), fix, is_transient=False)
    if isinstance(error, _TRANSIENT_ERRORS):
        fix = f"check the network and {endpoint()}"
        return Failure(0, "no complete answer", name, fix, is_transient=True, is_unreachable=True)
    fix = "check the AWS environment variables and profile"
    return Failure(0, name, redacted(str(error)), fix, is_transient=False)


def _refusal(response: Any, operation: str) -> Failure:
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = redacted(str(response.get("Error", {}).get("Code", status)))
    message = redacted(str(response.get("Error", {}).get("Message", "")))
    transient = status >= 500 and status not in (501, 505, 507)
    transient = transient or status in (409, 429) or code in _TRANSIENT_CODES
    return Failure(status, code, message, _fix(status, code, operation, response), transient)


def _fix(status: int, code: str, operation: str, response: Any) -> str:
    if code == "NoSuchBucket":
        return "create the bucket, or check its name"
    if code in _REGION_CODES:
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region") or response["Error"].get("Region")
        return f"set AWS_DEFAULT_REGION to the bucket's region{f', {region}' if region else ''}"
    if code in _CREDENTIAL_CODES:
        return _CREDENTIAL_FIX
    if status == HTTPStatus.FORBIDDEN and code != "RequestTimeTooSkewed":
        needed = _PERMISSIONS.get(operation, "the permissions in docs/storage.md")
        return f"allow {needed} on the bucket for these credentials"
    if code == "RequestTimeTooSkewed":
        return "set this machine's clock"
    if code in _FULL_CODES:
        return "free some space or quota; what is committed stays valid"
    if status >= 500 or status in (409, 429):
        return "wait until the store has recovered and run again; what is committed stays valid"
    return "check the address, AWS_DEFAULT_REGION and the store's settings"


def endpoint() -> str:
    """The endpoint that the environment names, without a user or a query in it."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if os.environ.get(name):
            return f"{name} ({redacted(os.environ[name])})"
    return "the region (AWS_DEFAULT_REGION)"


def redacted(text: str, limit: int = 300) -> str:
    """`text` on one line, without what could be a credential or a signature."""
    for name in _SECRETS:
        value = os.environ.get(name)
        if value and len(value) >= 4:
            text = text.replace(value, "…")
    text = re.sub(r"//[^/@\s]*@", "//…@", text)
    text = re.sub(r"\?[^\s\"'<>]+", "?…", text)
    text = re.sub(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}", "…", text)
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= limit else text[:limit] + "…"
