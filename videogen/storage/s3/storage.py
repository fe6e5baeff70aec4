"""`S3Storage`: create-only storage below a prefix of a bucket."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

from videogen.errors import StorageError
from videogen.storage.base import Lock, MissingKeyError, check_key, check_prefix
from videogen.storage.counters import StorageCounters
from videogen.storage.lease import LeaseTimes, hold_lease
from videogen.storage.s3.address import parse_address
from videogen.storage.s3.downloads import read_bytes, read_into
from videogen.storage.s3.lease_store import S3LeaseStore
from videogen.storage.s3.options import S3Options
from videogen.storage.s3.payload import Payload
from videogen.storage.s3.probe import PROBE_PREFIX, Capabilities, probe
from videogen.storage.s3.requests import Requests
from videogen.storage.s3.writes import WRITE_ID, create, replace

logger = logging.getLogger(__name__)


class Stored(NamedTuple):
    """An object as its store lists it; the ETag changes with what it holds."""

    size: int
    etag: str


class S3Storage:
    """A bucket, or what lies below a prefix of it; cheap to make, and pickled as its address.

    Endpoint, region and credentials come from the AWS environment and profile of each process.
    """

    def __init__(
        self,
        uri: str,
        options: S3Options | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        """Use `s3://bucket/prefix`; nothing is sent before the first use.

        Args:
            capabilities: what is known of the store, to save the probe.

        Raises:
            StorageError: `uri` is no such address.
        """
        self._address = parse_address(uri)
        self._options = options or S3Options()
        self._capabilities = capabilities
        self._probing = threading.Lock()
        self.counters = StorageCounters()
        self._requests = Requests(self._address.bucket, self._options, self.counters)

    def __repr__(self) -> str:
        return f"S3Storage({self.uri!r})"

    def __reduce__(self) -> tuple[type[S3Storage], tuple[str, S3Options, Capabilities | None]]:
        return type(self), (self.uri, self._options, self._capabilities)

    @property
    def uri(self) -> str:
        return self._address.uri

    @property
    def conditional_writes(self) -> bool:
        """Whether the store enforces `create`; the first question is answered by a probe.

        Raises:
            StorageError: the store cannot be written.
        """
        return self.probe().create_only

    def probe(self) -> Capabilities:
        """What the store enforces, found out once by writing and removing a small object.

        Raises:
            StorageError: the store cannot be written.
        """
        with self._probing:
            if self._capabilities is None:
                self._capabilities = probe(self._requests, self._folder)
                if not self._capabilities.create_only:
                    logger.warning(
                        "%s ignores or refuses conditional writes: one process alone has to write "
                        "what must be unique",
                        self.uri,
                    )
            return self._capabilities

    def create(
        self, key: str, data: bytes | Path, metadata: Mapping[str, str] | None = None
    ) -> bool:
        """See `Storage.create`. Without `conditional_writes`: looks, then writes, which races."""
        name, payload = self._name(key), Payload(data)
        is_large = payload.size > self._options.multipart_bytes
        if self.conditional_writes:
            if is_large and self.exists(key):
                return False
            return create(self._requests, name, payload, metadata or {})
        if self.exists(key):
            return False
        replace(self._requests, name, payload, metadata)
        return True

    def put(self, key: str, data: bytes | Path) -> None:
        replace(self._requests, self._name(key), Payload(data))

    def read(self, key: str) -> bytes:
        return read_bytes(self._requests, self._name(key))

    def download(self, key: str, path: Path) -> None:
        read_into(self._requests, self._name(key), path)

    def metadata(self, key: str) -> dict[str, str]:
        stored = self._head(key)["Metadata"]
        return {name: value for name, value in stored.items() if name != WRITE_ID}

    def exists(self, key: str) -> bool:
        try:
            self._head(key)
        except MissingKeyError:
            return False
        return True

    def size(self, key: str) -> int:
        return self._head(key)["ContentLength"]

    def revision(self, key: str) -> str:
        found = self._head(key)
        return f"{found['ContentLength']}/{found['ETag']}"

    def list(self, prefix: str = "") -> Iterator[str]:
        """Every key that starts with `prefix`, sorted; hides parts that start with a dot."""
        for key, _ in self._visible(prefix):
            yield key

    def stored(self, prefix: str = "") -> dict[str, Stored]:
        """What the store says of every key that `list` names."""
        return {key: Stored(e["Size"], e["ETag"]) for key, e in self._visible(prefix)}

    def delete(self, key: str) -> None:
        self._requests.send("delete_object", self._name(key), "deleting")

    def open_local(self, key: str) -> Path | None:
        """None: nothing of an object store is on this machine's disks."""
        check_key(key)
        return None

    def lock(self, name: str = ".lock", *, wait: bool = True) -> AbstractContextManager[Lock]:
        """See `Storage.lock`; the lock is a lease in `lease.json` that its holder keeps renewing.

        Without compare-and-swap in the store it is a best effort, which a warning says.
        """
        stem = name.strip(".")
        key = "lease.json" if stem == "lock" else f"{stem}.lease.json"
        options = self._options
        times = LeaseTimes(options.ttl_s, options.renew_s)
        conditional = self.probe().compare_and_swap
        store = S3LeaseStore(self._requests, self._name(key), conditional)
        return hold_lease(store, self.uri, times, wait=wait)

    def clean_temporary(self, older_than_s: float = 3600.0) -> int:
        """Abort uploads and remove probes that began over `older_than_s` seconds ago."""
        try:
            return self._clean_uploads(older_than_s) + self._clean_probes(older_than_s)
        except StorageError as error:
            logger.warning(
                "cannot tidy %s (%s); a lifecycle rule can remove incomplete uploads",
                self.uri,
                error,
            )
            return 0

    @property
    def _folder(self) -> str:
        return self._address.name("")

    def _name(self, key: str) -> str:
        return self._address.name(check_key(key))

    def _head(self, key: str) -> dict[str, Any]:
        return self._requests.send("head_object", self._name(key), "looking for")

    def _visible(self, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        skipped = len(self._folder)
        for entry in self._entries(self._folder + check_prefix(prefix)):
            key = entry["Key"][skipped:]
            if not (key.endswith("/") or key.startswith(".") or "/." in key):
                yield key, entry

    def _entries(self, prefix: str) -> Iterator[dict[str, Any]]:
        parameters: dict[str, Any] = {"Prefix": prefix}
        while True:
            page = self._requests.send("list_objects_v2", action="listing", **parameters)
            yield from page.get("Contents", ())
            if not page.get("IsTruncated"):
                return
            parameters["ContinuationToken"] = page["NextContinuationToken"]

    def _clean_uploads(self, older_than_s: float) -> int:
        page = self._requests.send("list_multipart_uploads", Prefix=self._folder)
        limit = _date(page) - timedelta(seconds=older_than_s)
        stale = [upload for upload in page.get("Uploads", ()) if upload["Initiated"] < limit]
        for upload in stale:
            self._requests.send(
                "abort_multipart_upload", upload["Key"], UploadId=upload["UploadId"]
            )
        return len(stale)

    def _clean_probes(self, older_than_s: float) -> int:
        prefix = self._folder + PROBE_PREFIX
        page = self._requests.send("list_objects_v2", action="listing", Prefix=prefix)
        limit = _date(page) - timedelta(seconds=older_than_s)
        stale = [entry for entry in page.get("Contents", ()) if entry["LastModified"] < limit]
        for entry in stale:
            self._requests.send("delete_object", entry["Key"], "deleting")
        return len(stale)


def _date(reply: dict[str, Any]) -> datetime:
    """The store's own time, which its times of objects are compared with."""
    return parsedate_to_datetime(reply["ResponseMetadata"]["HTTPHeaders"]["date"])
