"""Publishes a clip exactly once: the file create-only, then its sidecar create-only.

Complete means: the sidecar exists. A clip without one (its writer died in between) is adopted if it
is the clip we are about to make, a conflict if it is another, and set aside if it is damaged.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from videogen.errors import MediaError, OutputConflictError, StorageError
from videogen.requests import ClipRequest
from videogen.storage import MissingKeyError, Storage, local_copy
from videogen.storage.failures import storage_errors
from videogen_pipelines.sidecar import (
    Provenance,
    Sidecar,
    clip_key,
    find_sidecar,
    meta_key,
    now,
    read_sidecar,
)

logger = logging.getLogger(__name__)

Status = Literal["created", "adopted", "duplicate"]
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
    """What a commit did. `duplicate`: the same clip was committed before, nothing was written."""

    status: Status
    sidecar: Sidecar

    def outcome(self) -> dict[str, Any]:
        """The small record for `RunDirectory.record_done`."""
        return self.sidecar.outcome()


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
    file = inspect(path, provenance.request)
    if file.clip_id != provenance.clip_id:
        raise MediaError(
            f"{path}: got clip_id {file.clip_id!r} in its metadata, expected "
            f"{provenance.clip_id!r}. Fix: pass container_metadata() to the video writer."
        )
    stored = _Stored(file, _sha256(path), path.stat().st_size)
    for _ in range(2):  # the second round follows a damaged file that was set aside
        if _create_clip(storage, path, provenance, stored):
            return _commit(storage, provenance, stored, "created", started)
        adopted = adopt_clip(storage, provenance, inspect)
        if adopted is not None:
            return adopted
    raise StorageError(
        f"{storage.uri}/{clip_key(provenance.request.id)}: got a damaged clip again after one was "
        "set aside, expected a free name. Fix: stop whatever else writes there, then run again."
    )


def adopt_clip(
    storage: Storage, provenance: Provenance, inspect: Inspect = inspect_clip
) -> CommitResult | None:
    """Commit a clip that is stored already, without making it again.

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
    key = clip_key(provenance.request.id)
    try:
        with local_copy(storage, key) as path:
            stored = _inspect_stored(storage, key, path, provenance, inspect)
    except MissingKeyError:
        return None
    if stored is None:
        return None
    return _commit(storage, provenance, stored, "adopted", started)


@dataclass(frozen=True)
class _Stored:
    file: ClipFile
    sha256: str
    num_bytes: int


def _create_clip(storage: Storage, path: Path, provenance: Provenance, stored: _Stored) -> bool:
    metadata = {
        "clip_id": provenance.clip_id,
        "attempt": str(provenance.attempts),
        "sha256": stored.sha256,
    }
    return storage.create(clip_key(provenance.request.id), path, metadata)


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
        key=clip_key(provenance.request.id),
        sha256=stored.sha256,
        bytes=stored.num_bytes,
        frames=stored.file.num_frames,
        duration_s=stored.file.duration_s,
        codec=stored.file.codec,
        attempts=provenance.attempts,
        timings=provenance.timings.model_copy(update={"commit_s": commit_s}),
        node=provenance.node,
        versions=dict(provenance.versions),
        created_at=now(),
        warnings=provenance.warnings + adopted,
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
    digest = _sha256(path)  # before the inspection, to notice a file that is replaced during it
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
    return _Stored(file, digest, path.stat().st_size)


def _set_aside(storage: Storage, key: str, path: Path, digest: str, error: MediaError) -> None:
    """Move a damaged clip under `quarantine/`, unless somebody replaced it meanwhile."""
    aside = f"quarantine/{key.removesuffix('.mp4')}.{digest[:12]}.mp4"
    storage.create(aside, path)
    with local_copy(storage, key) as current:
        was_replaced = _sha256(current) != digest
    if was_replaced:
        storage.delete(aside)
        return
    storage.delete(key)
    logger.warning("%s/%s is damaged (%s); moved to %s", storage.uri, key, error, aside)


def _sha256(path: Path) -> str:
    with storage_errors("reading", path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
