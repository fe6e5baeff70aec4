"""Where clips and sidecars are stored, and which request a key belongs to."""

from __future__ import annotations

import hashlib
import re
import secrets

META_PREFIX = "meta/"
CLIPS_PREFIX = "clips/"
QUARANTINE_PREFIX = "quarantine/"
# No id holds a "=".
_CLIP = re.compile(r"clips/([0-9a-f]{2})/([^=/]+)(?:\.attempt=[0-9a-f]{16})?\.mp4")
_META = re.compile(r"meta/([0-9a-f]{2})/([^=/]+)\.json")


def clip_key(request_id: str) -> str:
    """Where the clip of a request is stored: `clips/{hh}/{id}.mp4`."""
    return f"{CLIPS_PREFIX}{shard_of(request_id)}/{request_id}.mp4"


def meta_key(request_id: str) -> str:
    """Where the sidecar of a request is stored: `meta/{hh}/{id}.json`."""
    return f"{META_PREFIX}{shard_of(request_id)}/{request_id}.json"


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
