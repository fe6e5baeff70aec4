"""Publishes a clip exactly once: the file create-only, then its sidecar create-only.

Complete means: the sidecar exists. A clip without one (its writer died in between) is adopted if it
is the clip we are about to make, a conflict if it is another, and set aside if it is damaged.

Where the store cannot refuse a second writer, ranks only store their attempts (`store_attempt`) and
the coordinator alone writes the sidecars (see `single_committer`).
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from videogen.errors import MediaError, OutputConflictError, StorageError
from videogen.requests import ClipRequest
from videogen.storage import MissingKeyError, Storage, local_copy
from videogen.storage.failures import storage_errors
from videogen_pipelines.keys import QUARANTINE_PREFIX, attempt_key, clip_key, meta_key, tries_key
from videogen_pipelines.sidecar import (
    Provenance,
    Sidecar,
    find_sidecar,
    find_tries,
    now,
    read_sidecar,
)

logger = logging.getLogger(__name__)

Status = Literal["created", "adopted", "duplicate", "stored"]
CommitMode = Literal["create_only", "single_committer"]
ADOPTED_WARNING = "adopted: the clip was stored by an earlier attempt that left no sidecar"


@dataclass(frozen=True)
class ClipFile:
    """What inspecting a clip's file found; `clip_id` comes from its container's metadata."""

    clip_id: str | None
    num_frames: int
    duration_s: float
    codec: str


Inspect = Callable[[Path, ClipRequest], ClipFile]


@dataclass(frozen=True)
class CommitResult:
    """What a commit did.

    `duplicate`: the same clip was committed before, nothing was written. `stored`: the clip is
    there, its sidecar is the coordinator's to write.
    """

    status: Status
    sidecar: Sidecar

    def outcome(self) -> dict[str, Any]:
        """The small record for `RunDirectory.record_done`."""
        record = self.sidecar.outcome()
        if self.status == "stored":
            record["sidecar"] = self.sidecar.model_dump(mode="json", by_alias=True)
        return record


def inspect_clip(path: Path, request: ClipRequest) -> ClipFile:
    """Decode all of `path` and check that it is as long, large and fast as `request` says.

    Raises:
        MediaError: it cannot be decoded, or differs; the message names what.
    """
    from videogen.media import VideoSpec, probe, verify_video

    expected = VideoSpec(
        num_frames=request.num_frames,
        height=request.height,
        width=request.width,
        fps=request.fps,
    )
    verify_video(path, expected)
    info = probe(path)
    return ClipFile(info.metadata.get("clip_id"), info.num_frames, info.duration_s, info.codec)


def commit_clip(
    storage: Storage, path: Path, provenance: Provenance, inspect: Inspect = inspect_clip
) -> CommitResult:
    """Publish the clip in `path`, which stays; calling it again or from elsewhere changes nothing.

    Args:
        path: a finished video file that carries `provenance.container_metadata()`.
        inspect: reads and verifies a clip's file; raises MediaError when it is not as requested.

    Raises:
        MediaError: the file is not the clip that `provenance` describes.
        OutputConflictError: the id holds another clip.
        StorageError: the storage failed.
    """
    started = time.perf_counter()
    key = clip_key(provenance.request.id)
    stored = _inspect_new(path, key, provenance, inspect)
    for _ in range(2):  # the second round follows a damaged file that was set aside
        if _create_clip(storage, path, provenance, stored):
            return _commit(storage, provenance, stored, "created", started)
        adopted = adopt_clip(storage, provenance, inspect)
        if adopted is not None:
            return adopted
    raise StorageError(
        f"{storage.uri}/{key}: got a damaged clip again after one was set aside, expected a free "
        "name. Fix: stop whatever else writes there, then run again."
    )


def store_attempt(
    storage: Storage, path: Path, provenance: Provenance, inspect: Inspect = inspect_clip
) -> CommitResult:
    """Store the clip in `path` under a name of its own, for the coordinator to commit.

    Raises:
        MediaError: the file is not the clip that `provenance` describes.
        OutputConflictError: the id holds another clip.
        StorageError: the storage failed.
    """
    started = time.perf_counter()
    key = attempt_key(provenance.request.id)
    stored = _inspect_new(path, key, provenance, inspect)
    committed = find_sidecar(storage, provenance.request.id)
    if committed is not None:
        return _duplicate(committed, provenance)
    if not _create_clip(storage, path, provenance, stored):
        raise StorageError(
            f"{storage.uri}/{key}: got a name that is taken, expected a new one. Fix: run again."
        )
    commit_s = time.perf_counter() - started
    return CommitResult("stored", _sidecar(provenance, stored, "stored", commit_s))


def adopt_clip(
    storage: Storage,
    provenance: Provenance,
    inspect: Inspect = inspect_clip,
    keys: Sequence[str] | None = None,
) -> CommitResult | None:
    """Commit a clip that is stored already, without making it again.

    Args:
        keys: where its file may be, the first good one is taken; None is its usual place alone.

    Returns:
        None if there is no clip to adopt: none is stored, or a damaged one was set aside under
        `quarantine/`.

    Raises:
        OutputConflictError: the id holds another clip.
        StorageError: the storage failed.
    """
    started = time.perf_counter()
    sidecar = find_sidecar(storage, provenance.request.id)
    if sidecar is not None:
        return _duplicate(sidecar, provenance)
    for key in keys or (clip_key(provenance.request.id),):
        try:
            with local_copy(storage, key) as path:
                stored = _inspect_stored(storage, key, path, provenance, inspect)
        except MissingKeyError:
            continue
        if stored is not None:
            history = find_tries(storage, provenance.request.id, stored.sha256)
            provenance = replace(provenance, tries=history)
            return _commit(storage, provenance, stored, "adopted", started)
    return None


@dataclass(frozen=True)
class _Stored:
    key: str
    file: ClipFile
    sha256: str
    num_bytes: int


def _inspect_new(path: Path, key: str, provenance: Provenance, inspect: Inspect) -> _Stored:
    file = inspect(path, provenance.request)
    if file.clip_id != provenance.clip_id:
        raise MediaError(
            f"{path}: got clip_id {file.clip_id!r} in its metadata, expected "
            f"{provenance.clip_id!r}. Fix: pass container_metadata() to the video writer."
        )
    return _Stored(key, file, sha256_of(path), path.stat().st_size)


def _create_clip(storage: Storage, path: Path, provenance: Provenance, stored: _Stored) -> bool:
    if provenance.tries is not None:  # before the clip, so that whoever adopts it finds it
        key = tries_key(provenance.request.id, stored.sha256)
        storage.create(key, provenance.tries.to_json())
    metadata = {
        "clip_id": provenance.clip_id,
        "attempt": str(provenance.attempts),
        "sha256": stored.sha256,
    }
    return storage.create(stored.key, path, metadata)


def _commit(
    storage: Storage, provenance: Provenance, stored: _Stored, status: Status, started: float
) -> CommitResult:
    sidecar = _sidecar(provenance, stored, status, time.perf_counter() - started)
    if storage.create(meta_key(sidecar.id), sidecar.to_json()):
        return CommitResult(status, sidecar)
    return _duplicate(read_sidecar(storage, sidecar.id), provenance, stored.sha256)


def _sidecar(provenance: Provenance, stored: _Stored, status: Status, commit_s: float) -> Sidecar:
    adopted = (ADOPTED_WARNING,) if status == "adopted" else ()
    return Sidecar(
        id=provenance.request.id,
        clip_id=provenance.clip_id,
        request=provenance.request,
        model=provenance.model,
        sampler_version=provenance.sampler_version,
        key=stored.key,
        sha256=stored.sha256,
        bytes=stored.num_bytes,
        frames=stored.file.num_frames,
        duration_s=stored.file.duration_s,
        codec=stored.file.codec,
        attempts=provenance.attempts,
        timings=provenance.timings.model_copy(update={"commit_s": commit_s}),
        gpu_s=provenance.gpu_s,
        device=provenance.device,
        parallel=provenance.parallel,
        chunks=provenance.chunks,
        node=provenance.node,
        gang=provenance.gang,
        versions=dict(provenance.versions),
        created_at=now(),
        warnings=provenance.warnings + adopted,
        tries=provenance.tries,
        chunk_starts=provenance.chunk_starts,
    )


def _duplicate(sidecar: Sidecar, provenance: Provenance, sha256: str | None = None) -> CommitResult:
    if sidecar.clip_id != provenance.clip_id:
        raise OutputConflictError(
            f"id '{sidecar.id}': got a clip committed before as another request "
            f"({_difference(sidecar, provenance)}), expected the same request. "
            "Fix: choose another output or another id."
        )
    if sha256 not in (None, sidecar.sha256):
        raise OutputConflictError(
            f"{sidecar.key}: got a file that its sidecar does not describe, because the committed "
            f"one was removed. Fix: delete {meta_key(sidecar.id)} and run again."
        )
    return CommitResult("duplicate", sidecar)


def _difference(sidecar: Sidecar, provenance: Provenance) -> str:
    ours, theirs = provenance.request.model_dump(), sidecar.request.model_dump()
    changes = [
        f"{name} {theirs[name]!r}, now {value!r}"
        for name, value in ours.items()
        if name != "metadata" and theirs[name] != value
    ]
    if sidecar.model.digest != provenance.model.digest:
        changes.append(f"model {sidecar.model.digest[:12]}, now {provenance.model.digest[:12]}")
    if sidecar.sampler_version != provenance.sampler_version:
        changes.append(f"sampler {sidecar.sampler_version}, now {provenance.sampler_version}")
    return "; ".join(changes) or f"clip_id {sidecar.clip_id}, now {provenance.clip_id}"


def _inspect_stored(
    storage: Storage, key: str, path: Path, provenance: Provenance, inspect: Inspect
) -> _Stored | None:
    digest = sha256_of(path)  # before the inspection, to notice a file that is replaced during it
    try:
        file = inspect(path, provenance.request)
    except MediaError as error:
        _set_aside(storage, key, path, digest, error)
        return None
    if file.clip_id != provenance.clip_id:
        raise OutputConflictError(
            f"{storage.uri}/{key}: got a clip without sidecar whose clip_id is {file.clip_id!r}, "
            f"expected {provenance.clip_id!r}. Fix: move it away, or choose another output or id."
        )
    return _Stored(key, file, digest, path.stat().st_size)


def _set_aside(storage: Storage, key: str, path: Path, digest: str, error: MediaError) -> None:
    """Move a damaged clip under `quarantine/`, unless somebody replaced it meanwhile."""
    aside = f"{QUARANTINE_PREFIX}{key.removesuffix('.mp4')}.{digest[:12]}.mp4"
    storage.create(aside, path)
    with local_copy(storage, key) as current:
        was_replaced = sha256_of(current) != digest
    if was_replaced:
        storage.delete(aside)
        return
    storage.delete(key)
    logger.warning("%s/%s is damaged (%s); moved to %s", storage.uri, key, error, aside)


def stored_sha256(storage: Storage, key: str) -> str | None:
    """SHA-256 of what is stored under `key`, in hex; None if nothing is.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        with local_copy(storage, key) as path:
            return sha256_of(path)
    except MissingKeyError:
        return None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        StorageError: it cannot be read.
    """
    with storage_errors("reading", path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
