"""Where clips and sidecars are stored, and which request a key belongs to."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Literal, NamedTuple

META_PREFIX = "meta/"
CLIPS_PREFIX = "clips/"
PARTIAL_PREFIX = "partial/"
QUARANTINE_PREFIX = "quarantine/"
TRIES_PREFIX = "tries/"
# No id holds a "=".
_CLIP = re.compile(r"clips/([0-9a-f]{2})/([^=/]+)(?:\.attempt=[0-9a-f]{16})?\.mp4")
_META = re.compile(r"meta/([0-9a-f]{2})/([^=/]+)\.json")
_PARTIAL = re.compile(
    r"partial/([0-9a-f]{2})/([^=/]+)=([0-9a-f]+)\.([a-z0-9-]+)\.([0-9]{6,})\.(mp4|safetensors)"
)
_COPY = re.compile(r".+/clips/([0-9a-f]{2})/([^=/]+)=[0-9a-f]{16}\.[^./]+")


def clip_key(request_id: str) -> str:
    """Where the clip of a request is stored: `clips/{hh}/{id}.mp4`."""
    return f"{CLIPS_PREFIX}{shard_of(request_id)}/{request_id}.mp4"


def meta_key(request_id: str) -> str:
    """Where the sidecar of a request is stored: `meta/{hh}/{id}.json`."""
    return f"{META_PREFIX}{shard_of(request_id)}/{request_id}.json"


def tries_key(request_id: str, sha256: str = "") -> str:
    """Where the history of tries at a request is; of those that were stored, by their file."""
    suffix = f"={sha256[:16]}" if sha256 else ""
    return f"{TRIES_PREFIX}{shard_of(request_id)}/{request_id}{suffix}.json"


def attempt_key(request_id: str) -> str:
    """A new place for one attempt's clip, where the store cannot refuse a second writer."""
    return f"{attempts_prefix(request_id)}{secrets.token_hex(8)}.mp4"


def attempts_prefix(request_id: str) -> str:
    """What the keys of all attempts at a request start with."""
    return f"{CLIPS_PREFIX}{shard_of(request_id)}/{request_id}.attempt="


def is_attempt(key: str) -> bool:
    """Whether `key` was made by `attempt_key`."""
    owner = id_of_key(key)
    return owner is not None and key.startswith(CLIPS_PREFIX) and key != clip_key(owner)


def copy_key(name: str, version: str, suffix: str) -> str:
    """Where a report that takes its clips along keeps one: `clips/{hh}/{id}={version}{suffix}`."""
    return f"{CLIPS_PREFIX}{shard_of(name)}/{name}={version}{suffix}"


def is_copy_in_report_below(key: str) -> bool:
    """Whether `copy_key` made `key`, in a report that lies in a folder below."""
    match = _COPY.fullmatch(key)
    return match is not None and match[1] == shard_of(match[2])


class PartialKey(NamedTuple):
    """What `partial_key` was told."""

    id: str
    clip_id: str
    recipe: str
    chunk: int
    kind: Literal["mp4", "safetensors"]


def partial_key(place: PartialKey) -> str:
    """Where a part of an unfinished clip is stored: the frames of a chunk, or how to go on."""
    return (
        f"{partials_prefix(place.id)}{place.clip_id}.{place.recipe}.{place.chunk:06d}.{place.kind}"
    )


def partials_prefix(request_id: str) -> str:
    """What the keys of all parts of a request's unfinished clip start with."""
    return f"{PARTIAL_PREFIX}{shard_of(request_id)}/{request_id}="


def parse_partial(key: str) -> PartialKey | None:
    """What `partial_key` was told to give `key`; None if it did not."""
    match = _PARTIAL.fullmatch(key)
    if match is None or match[1] != shard_of(match[2]):
        return None
    kind = "mp4" if match[6] == "mp4" else "safetensors"
    return PartialKey(match[2], match[3], match[4], int(match[5]), kind)


def id_of_key(key: str) -> str | None:
    """The request whose clip, attempt or sidecar is stored at `key`; None for anything else."""
    place = _CLIP.fullmatch(key) or _META.fullmatch(key)
    if place is None:
        return None
    shard, name = place.groups()
    return name if shard == shard_of(name) else None


def shard_of(request_id: str) -> str:
    """Two hex digits that spread the ids evenly over 256 prefixes."""
    return hashlib.blake2b(request_id.encode()).hexdigest()[:2]
