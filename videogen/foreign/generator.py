"""`ForeignGenerator`: pipelines of diffusers as a generator, whose latents are the frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from videogen.errors import ConfigError
from videogen.extension.sampler import OnStep
from videogen.extension.start import check_frames, check_no_start
from videogen.extension.state import Chunk, StreamState, fingerprint
from videogen.foreign.cascade import Cascade
from videogen.foreign.library import diffusers_version
from videogen.foreign.spec import ForeignSpec, read_foreign_spec
from videogen.generator import VideoGenerator
from videogen.models.causal_conv import StreamCache
from videogen.requests import ClipRequest

FRAMES_AT_ONCE = 16


class ForeignGenerator(VideoGenerator):
    """Makes each clip in one piece, and holds all of its frames until they are read."""

    def __init__(self, cascade: Any, device: torch.device) -> None:
        super().__init__(cascade, device)
        self._cascade: Cascade = cascade
        self.spec: ForeignSpec = cascade.spec

    @property
    def versions(self) -> dict[str, str]:
        return {"diffusers": diffusers_version()}

    def stream(
        self,
        request: ClipRequest,
        state: StreamState | None = None,
        on_step: OnStep | None = None,
        start: np.ndarray | None = None,
    ) -> Iterator[Chunk]:
        """Make a clip: one chunk, whose latents are its frames, uint8 `c t h w`.

        Raises:
            InvalidRequestError: the pipeline does not take what is set in the request.
        """
        self.spec.check_request(request)
        if start is None:
            check_no_start(request)
        else:
            check_frames(request, start)
        frames = torch.from_numpy(self._cascade.make(request, on_step, start))
        end = StreamState(fingerprint(self.spec, request), 1, request.num_frames)
        yield Chunk(frames.permute(3, 0, 1, 2), 0, 0, request.num_frames, True, end)

    def decode_chunk(
        self, chunk: Chunk, cache: StreamCache, num_tiles: int = 1
    ) -> Iterator[np.ndarray]:
        """The frames of a chunk, uint8 `t h w c`, a few at a time."""
        return self.decode(chunk.latents)

    def decode(self, latents: torch.Tensor, num_tiles: int = 1) -> Iterator[np.ndarray]:
        """Frames of latents `c t h w`, which they are already."""
        frames = latents.permute(1, 2, 3, 0).numpy()
        for first in range(0, len(frames), FRAMES_AT_ONCE):
            yield np.ascontiguousarray(frames[first : first + FRAMES_AT_ONCE])

    def degrade(self, times: int) -> None:
        """Take less memory from now on, as a clip ran out of it; the frames stay the same."""
        if times and self.device.type == "cuda":
            self._cascade.offload()

    def warnings(self, request: ClipRequest) -> list[str]:
        """What a person should know of a clip."""
        return self.spec.warnings()


def load_foreign(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    attention: str | None = None,
    cpu_offload: bool = False,
    vae_tiling: bool = False,
) -> ForeignGenerator:
    """Load `diffusers:…`; see `Cascade.load`.

    Raises:
        WeightsError, ConfigError, MissingDependencyError: see `read_foreign_spec`.
    """
    if attention not in (None, "sdpa"):
        raise ConfigError(
            f"model.attention: got '{attention}', expected none, because a pipeline of diffusers "
            "brings its own. Fix: leave it out."
        )
    spec = read_foreign_spec(name)
    options = {"cpu_offload": cpu_offload, "vae_tiling": vae_tiling}
    return ForeignGenerator(Cascade.load(spec, device, dtype, **options), device)
