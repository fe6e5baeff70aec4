"""`Clip`: a clip whose frames are decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from videogen.extension.state import Chunk
from videogen.models.causal_conv import StreamCache
from videogen.requests import ClipRequest


@dataclass(frozen=True)
class Clip:
    """A clip as the chunks it is made of.

    Attributes:
        chunks: starts the clip over; chunks of a long clip are denoised as they are read.
        decode_chunk: frames of a chunk, given the cache that carries the past.
    """

    request: ClipRequest
    chunks: Callable[[], Iterator[Chunk]]
    decode_chunk: Callable[[Chunk, StreamCache], Iterator[np.ndarray]]

    @cached_property
    def latents(self) -> Tensor:
        """Normalised latents of the whole clip, `c t h w`."""
        return torch.cat([chunk.latents for chunk in self.chunks()], dim=1)

    def frames(self) -> Iterator[np.ndarray]:
        """Stream frames, uint8 `t h w c`, a few at a time; the clip is never held whole."""
        cache: StreamCache = {}
        for chunk in self.chunks():
            yield from self.decode_chunk(chunk, cache)

    def to_array(self) -> np.ndarray:
        """All frames at once, uint8 `t h w c`."""
        return np.concatenate(list(self.frames()))

    def save(self, path: str | Path, codec: str = "h264") -> Path:
        """Encode the clip into a video file; frames stream, the clip is never held whole.

        Raises:
            EncodeError: the codec is not available or the file cannot be written.
        """
        from videogen.media.writer import write_video

        request = self.request
        metadata = {"prompt": request.prompt, "seed": str(request.seed), "id": request.id}
        write_video(path, self.frames(), fps=request.fps, codec=codec, metadata=metadata)
        return Path(path)
