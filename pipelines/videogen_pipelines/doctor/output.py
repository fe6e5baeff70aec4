"""Whether OUT can hold a run: one small object is written, read and removed as runs do it."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from pathlib import Path

from videogen.storage import LocalStorage, Storage, open_storage
from videogen_pipelines.doctor.checks import Family, Finding, Probe, failed, ok, skipped, warning
from videogen_pipelines.doctor.credentials import check_credentials
from videogen_pipelines.doctor.machine import check_disk
from videogen_pipelines.doctor.once import Once

PREFIX = "doctor/"
_FIRST, _SECOND = b"written by videogen doctor\n", b"written a second time\n"
READ_TIMEOUT_S, GIVE_UP_S = 5.0, 6.0
_SLOW_S = 0.5
_UNRELIABLE = "do not use this store for runs: it does not keep what it is given"


def output_family(out: str | None) -> Family:
    """What a run does with its output; an object store is tried beside the other families."""
    if out is None:
        skip = Probe("output", lambda: skipped("no --out", "give --out URI to have it tried"))
        return Family("output", (skip,))
    trial = Trial(out)
    steps = (
        Probe("write", trial.write),
        Probe("create-only", trial.create_only),
        Probe("read back", trial.read_back),
        Probe("list", trial.list),
    )
    last = Probe("delete", trial.delete)
    if is_local(out):
        space = Probe("free space", trial.free_space)
        return Family("output", (*steps, Probe("links and fsync", trial.links), space, last))
    first = Probe("credentials", check_credentials)
    conditional = Probe("conditional writes", trial.conditional_writes)
    return Family("output", (first, *steps, conditional, last), remote=True)


def is_local(out: str) -> bool:
    """Whether `out` is a folder rather than an object store."""
    return "://" not in out or out.lower().startswith("file://")


def open_soon(uri: str) -> Storage:
    """`open_storage`, but an object store that does not answer is given up within seconds."""
    if is_local(uri):
        return open_storage(uri)
    from videogen.storage.s3 import S3Options, S3Storage

    return S3Storage(
        uri,
        S3Options(
            connect_timeout_s=2.0,
            read_timeout_s=READ_TIMEOUT_S,
            max_attempts=1,
            first_contact_s=GIVE_UP_S,
            give_up_s=GIVE_UP_S,
        ),
    )


class Trial:
    """An object of a name that nobody else uses, taken through its life."""

    def __init__(self, out: str) -> None:
        self._storage = Once(lambda: open_soon(out))
        self._written = Once(self._write)
        self._key = f"{PREFIX}{secrets.token_hex(8)}.txt"
        self._missing_before: list[Path] = []

    def write(self) -> Finding:
        seconds = self._written()
        found = f"{self._storage().uri}: {len(_FIRST)} bytes in {1000 * seconds:.0f} ms"
        if seconds < _SLOW_S:
            return ok(found)
        return warning(found, "a run waits for every clip: choose a closer or less busy store")

    def create_only(self) -> Finding:
        """A second create must say no and leave the first object as it is."""
        return self._written.then(lambda _: self._create_again(self._storage()), "write")

    def read_back(self) -> Finding:
        return self._written.then(lambda _: self._read(self._storage()), "write")

    def list(self) -> Finding:
        return self._written.then(lambda _: self._list(self._storage()), "write")

    def conditional_writes(self) -> Finding:
        """Whether the store itself refuses to overwrite, so that any number may write."""
        return self._written.then(lambda _: conditional_finding(self._storage()), "write")

    def links(self) -> Finding:
        """A commit is a hard link to a file that is on the disk already."""
        return self._written.then(lambda _: link_finding(self._storage()), "write")

    def free_space(self) -> Finding:
        storage = self._storage()
        assert isinstance(storage, LocalStorage)
        return check_disk(storage.root, "--out")

    def delete(self) -> Finding:
        """Remove the object, and the folders that were not there before it."""
        return self._written.then(lambda _: self._delete(self._storage()), "write")

    def _write(self) -> float:
        storage = self._storage()
        if isinstance(storage, LocalStorage):
            folders = [storage.root / PREFIX, storage.root, *storage.root.parents]
            self._missing_before = [folder for folder in folders if not folder.exists()]
        _ = storage.conditional_writes  # makes the first contact, which is not to be timed
        started = time.monotonic()
        storage.create(self._key, _FIRST)
        return time.monotonic() - started

    def _create_again(self, storage: Storage) -> Finding:
        if storage.create(self._key, _SECOND):
            return failed("a second create of one key succeeded, expected a refusal", _UNRELIABLE)
        return ok("a second create of one key was refused")

    def _read(self, storage: Storage) -> Finding:
        found = storage.read(self._key)
        if found == _FIRST:
            return ok("what was written first")
        return failed(f"got {found[:40]!r}, expected {_FIRST!r}", _UNRELIABLE)

    def _list(self, storage: Storage) -> Finding:
        if self._key in storage.list(PREFIX):
            return ok("the new key is listed at once")
        return failed("the new key is not listed", f"{_UNRELIABLE}, or listing is not allowed")

    def _delete(self, storage: Storage) -> Finding:
        storage.delete(self._key)
        if storage.exists(self._key):
            return failed(f"{self._key} is still there after it was deleted", _UNRELIABLE)
        for folder in self._missing_before:
            with suppress(OSError):  # somebody else has put something there
                folder.rmdir()
        return ok("removed again")


def conditional_finding(storage: Storage) -> Finding:
    """ok if the store enforces `create` and, where it has no locks, compare-and-swap."""
    capabilities = getattr(storage, "probe", lambda: None)()
    if storage.conditional_writes and capabilities and not capabilities.compare_and_swap:
        return warning(
            "the store refuses to overwrite, but ignores If-Match: the lease is a best effort",
            "start one coordinator at a time on an output, or use a store with If-Match",
        )
    if storage.conditional_writes:
        return ok("the store refuses to overwrite: any number of ranks may commit")
    return warning(
        "the store ignores or refuses If-None-Match: only the coordinator will commit",
        "runs work, a little slower; for more, use a store with conditional writes, or update it",
    )


def link_finding(storage: Storage) -> Finding:
    """Whether files can be flushed and linked in the folder, and how long that takes."""
    assert isinstance(storage, LocalStorage)
    started = time.monotonic()
    keys = [f"{PREFIX}{secrets.token_hex(8)}.txt" for _ in range(3)]
    try:
        created = [storage.create(key, _FIRST) for key in keys]
        linked = [(storage.root / key).stat().st_nlink for key in keys]
    finally:
        for key in keys:
            storage.delete(key)
    each_ms = 1000 * (time.monotonic() - started) / len(keys)
    found = f"flushed and linked in {each_ms:.0f} ms a file"
    if not all(created) or linked != [1, 1, 1]:
        return failed(f"{found}, but the link count is {linked}", "use ext4, xfs or NFS")
    if each_ms < 1000 * _SLOW_S:
        return ok(found)
    return warning(found, "a run waits for every clip: choose a faster or less busy disk")
