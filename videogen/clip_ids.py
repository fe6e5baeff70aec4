"""`clip_id`: the name of the exact pixels of a clip."""

from __future__ import annotations

import hashlib
import json
import marshal
import secrets

from videogen.requests import ClipRequest


def clip_id(request: ClipRequest, model_digest: str, sampler_version: str) -> str:
    """Name the exact pixels of a clip: equal ids mean equal pixels on equal hardware.

    Returns:
        32 hex digits: blake2b-128 of the canonical JSON of the resolved request without its
        `metadata` (which changes no pixel), without what it leaves to the defaults of
        `LONG_CLIP_FIELDS`, and without the place of files whose content it names; the model digest
        and the sampler version.
    """
    values = request.__dict__.copy()
    name, prompt, seed = values.pop("id"), values.pop("prompt"), values.pop("seed")
    del values["metadata"]
    values["prompts"] = tuple((entry.at_s, entry.prompt) for entry in request.prompts)
    # As bytes, because 0.0 and -0.0 are equal and have different names.
    key = marshal.dumps((model_digest, sampler_version, *values.values()), _WITHOUT_REFERENCES)
    pieces = _pieces.get(key)
    if pieces is None:
        if len(_pieces) >= _MAX_PIECES:
            _pieces.clear()
        pieces = _pieces[key] = _canonical(request, model_digest, sampler_version)
    first, second, third, last = pieces
    text = f"{first}{_quoted(name)}{second}{_quoted(prompt)}{third}{seed}{last}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


LONG_CLIP_FIELDS = (
    "extension",
    "chunk_frames",
    "context_frames",
    "context_noise",
    "context_guidance",
    "async_steps",
    "anchor",
    "prompts",
    "image",
    "image_sha256",
    "video",
    "video_sha256",
    "loop",
)
_PLACES = {"image": "image_sha256", "video": "video_sha256"}
_OWN = ("id", "prompt", "seed")  # what nearly every row has to itself, in canonical order
_MAX_PIECES = 1024
_WITHOUT_REFERENCES = 2  # a version of marshal whose bytes depend on the values alone
_pieces: dict[bytes, list[str]] = {}
_quoted = json.encoder.encode_basestring_ascii


def _canonical(request: ClipRequest, model_digest: str, sampler_version: str) -> list[str]:
    """The canonical JSON of what a clip id names, cut where the values of `_OWN` belong."""
    mark = secrets.token_hex(16)
    fields = ClipRequest.model_fields
    unsaid = {n for n in LONG_CLIP_FIELDS if getattr(request, n) == fields[n].default}
    placed = {name for name, digest in _PLACES.items() if getattr(request, digest) is not None}
    values = request.model_dump(mode="json", exclude={"metadata", *unsaid, *placed})
    content = {
        "request": values | dict.fromkeys(_OWN, mark),
        "model": model_digest,
        "sampler_version": sampler_version,
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return text.split(f'"{mark}"')
