"""Checks one clip with its sidecar: are they what they say, byte for byte and frame for frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from videogen.clip_ids import clip_id
from videogen.errors import MediaError
from videogen.storage import MissingKeyError, Storage, local_copy
from videogen_pipelines.commit import Inspect, inspect_clip, sha256_of
from videogen_pipelines.inventory import StoredItem
from videogen_pipelines.keys import meta_key
from videogen_pipelines.sidecar import DamagedSidecarError, Sidecar, read_sidecar
from videogen_pipelines.verification.violations import Kind, Violation


class Level(StrEnum):
    """How closely clips are looked at; each level does what those before it do, too."""

    SIZES = "sizes"  # every clip is there and as long as its sidecar says
    BYTES = "bytes"  # and every byte is as it was when it was committed
    FRAMES = "frames"  # and every frame decodes and the clip is as it was asked for


@dataclass(slots=True)
class Checked:
    """What became of one id; `sidecar` is None if it has none that can be read."""

    item: StoredItem
    sidecar: Sidecar | None = None
    violations: list[Violation] = field(default_factory=list)


def check_item(
    storage: Storage, item: StoredItem, level: Level, inspect: Inspect = inspect_clip
) -> Checked:
    """Check one id; what is wrong is reported, not raised.

    A clip without a sidecar is left to the caller, who knows the rows.

    Raises:
        StorageError: the storage failed.
    """
    if not item.has_sidecar:
        return Checked(item)
    try:
        sidecar = read_sidecar(storage, item.id)
        problem = _identity_problem(item, sidecar)
    except MissingKeyError:
        return Checked(StoredItem(item.id, False, item.clip_keys))
    except DamagedSidecarError as error:
        sidecar, problem = None, str(error)
    if sidecar is None or problem:  # then nothing that it says can be relied upon
        violation = Violation(Kind.DAMAGED_SIDECAR, problem or "", item.id, meta_key(item.id))
        return Checked(item, None, [violation])
    return Checked(item, sidecar, list(_check(storage, item, sidecar, level, inspect)))


def _check(
    storage: Storage, item: StoredItem, sidecar: Sidecar, level: Level, inspect: Inspect
) -> Iterator[Violation]:
    for key in item.clip_keys:
        if key != sidecar.key:
            message = f"got a second clip of '{item.id}', expected {sidecar.key} alone"
            yield Violation(Kind.DUPLICATE, message, item.id, key)
    try:
        problem = _check_file(storage, sidecar, level, inspect)
    except MissingKeyError:
        message = f"got a sidecar without its clip, expected {sidecar.key}"
        yield Violation(Kind.NO_CLIP, message, item.id, meta_key(item.id))
        return
    if problem:
        yield Violation(Kind.DAMAGED_CLIP, problem, item.id, sidecar.key)


def _identity_problem(item: StoredItem, sidecar: Sidecar) -> str | None:
    """Why this is not the sidecar of `item`, or None."""
    if {sidecar.id, sidecar.request.id} != {item.id}:
        return f"got the sidecar of '{sidecar.id}', expected that of '{item.id}'"
    name = clip_id(sidecar.request, sidecar.model.digest, sidecar.sampler_version)
    if sidecar.clip_id != name:
        return f"got clip_id {sidecar.clip_id}, expected {name} by its request and model"
    return None


def _check_file(storage: Storage, sidecar: Sidecar, level: Level, inspect: Inspect) -> str | None:
    """What is wrong with the clip's file, or None."""
    if level is Level.SIZES:
        return _size_problem(storage.size(sidecar.key), sidecar)
    with local_copy(storage, sidecar.key) as path:
        if problem := _size_problem(path.stat().st_size, sidecar):
            return problem
        digest = sha256_of(path)
        if digest != sidecar.sha256:
            return f"got sha256 {digest[:12]}…, expected {sidecar.sha256[:12]}…"
        if level is Level.BYTES:
            return None
        try:
            file = inspect(path, sidecar.request)
        except MediaError as error:
            return f"got a file that is not the clip ({error}), expected it to decode"
    if (file.clip_id, file.num_frames) != (sidecar.clip_id, sidecar.frames):
        return (
            f"got {file.num_frames} frames of clip {file.clip_id}, expected {sidecar.frames} of "
            f"{sidecar.clip_id}"
        )
    return None


def _size_problem(size: int, sidecar: Sidecar) -> str | None:
    return None if size == sidecar.bytes else f"got {size} bytes, expected {sidecar.bytes}"
