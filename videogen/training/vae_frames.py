"""Frames that a VAE is trained on: of rendered clips, or of whatever source is given."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from videogen.shapes.scene import Split
from videogen.training.clips import numbered_scene, render_batch
from videogen.training.config import VAETrainConfig

VALIDATION_SEED = 1_000_003


class FrameSource(Protocol):
    """Clips `b 3 t h w` in [-1, 1], float32 on the CPU, all of one shape."""

    def training(self, step: int, places: range) -> Tensor:
        """Samples of the batch of a step, by the seed, the step and their places in it alone."""
        ...

    def validation(self) -> Tensor:
        """Clips that training never sees, always the same."""
        ...


class RenderedFrames:
    """Clip after clip of the worlds of a configuration."""

    def __init__(self, config: VAETrainConfig) -> None:
        self.config = config

    def training(self, step: int, places: range) -> Tensor:
        schedule = self.config.schedule
        first = step * schedule.batch_size
        return self._clips(schedule.seed, range(first + places.start, first + places.stop), "train")

    def validation(self) -> Tensor:
        return self._clips(VALIDATION_SEED, range(self.config.validation_clips), "held_out")

    def _clips(self, seed: int, indices: range, split: Split) -> Tensor:
        config = self.config
        scenes = [numbered_scene(seed, index, config.worlds, split) for index in indices]
        return render_batch(scenes, config.num_frames, config.size)
