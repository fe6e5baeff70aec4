"""`Chunk`, a stretch of a clip, and `StreamState`, all that is needed to go on after it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from videogen.errors import InvalidRequestError
from videogen.models.protocol import ClipSpec
from videogen.requests import ClipRequest

_PLACE, _CLIP = "place", "clip"


@dataclass(frozen=True)
class StreamState:
    """What goes on after a chunk, the same on every rank; tensors are float32 on the CPU."""

    clip: str
    """Fingerprint of the clip that this belongs to; see `fingerprint`."""
    num_chunks: int
    """Chunks made."""
    next_latent: int
    """First latent frame that is not made yet."""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """By name: `tail`, the last latents `c t h w`, and what the method keeps beside them."""

    @property
    def tail(self) -> Tensor:
        """The last latents made, `c t h w`."""
        return self.tensors["tail"]

    def to_bytes(self) -> bytes:
        """One safetensors file; `from_bytes` reads it back."""
        place = torch.tensor([self.num_chunks, self.next_latent])
        clip = torch.frombuffer(bytearray.fromhex(self.clip), dtype=torch.uint8)
        named = {f"tensors/{name}": tensor for name, tensor in self.tensors.items()}
        every = {_PLACE: place, _CLIP: clip, **named}
        return save({name: tensor.contiguous() for name, tensor in every.items()})

    @classmethod
    def from_bytes(cls, data: bytes) -> StreamState:
        """Read what `to_bytes` wrote.

        Raises:
            InvalidRequestError: the bytes are damaged, or something else.
        """
        try:
            tensors = load(data)
            num_chunks, next_latent = tensors.pop(_PLACE).tolist()
            clip = bytes(tensors.pop(_CLIP).tolist()).hex()
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise InvalidRequestError(
                f"state: got {len(data)} bytes that hold no saved state ({error}), expected those "
                "of StreamState.to_bytes. Fix: start the clip from its beginning."
            ) from error
        named = {name.removeprefix("tensors/"): tensor for name, tensor in tensors.items()}
        return cls(clip, num_chunks, next_latent, named)

    def check(self, clip: str) -> None:
        """Raise unless this is a state of that clip.

        Raises:
            InvalidRequestError: it belongs to another request or another model.
        """
        if self.clip != clip:
            raise InvalidRequestError(
                f"state: got one of clip {self.clip[:12]}, expected one of clip {clip[:12]}: the "
                "request or the model is another. Fix: start the clip from its beginning."
            )


@dataclass(frozen=True)
class Chunk:
    """Consecutive new latents of a clip."""

    latents: Tensor
    """Normalised, `c t h w`, float32; what follows the chunk before."""
    index: int
    """0 for the clip's first chunk."""
    first_latent: int
    num_frames: int
    """Frames of the clip that these latents decode to; what is beyond its end is cut."""
    is_last: bool
    state: StreamState
    """How to go on after this chunk."""
    lead: Tensor | None = None
    """Of a chunk that is decoded by itself, its own latents `c t h w` before `latents`, whose
    frames are those that the chunk before ended with."""


def fingerprint(spec: ClipSpec, request: ClipRequest) -> str:
    """32 hex digits that tell clips apart whose states must not be mixed up."""
    content = {
        "request": request.model_dump(mode="json", exclude={"id", "metadata"}),
        "model": spec.digest,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
