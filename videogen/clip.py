"""`Clip`: denoised latents whose frames are decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from videogen.requests import ClipRequest


@dataclass(frozen=True)
class Clip:
    """A denoised clip: normalised latents `c t h w`, decoded to frames on demand."""

    request: ClipRequest
    latents: Tensor
    decode: Callable[[Tensor], Iterator[np.ndarray]]

    def frames(self) -> Iterator[np.ndarray]:
        """Stream frames, uint8 `t h w c`, a few at a time."""
        return self.decode(self.latents)

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
