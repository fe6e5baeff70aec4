"""What every folder of a published model says, before its weights are touched."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from videogen.config import to_plain
from videogen.models.config import TextConfig
from videogen.models.digests import file_digests
from videogen.models.protocol import VAESizes
from videogen.models.sizes import check_sides

SAMPLERS = {
    "UniPCMultistepScheduler": "unipc",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "FlowMatchEulerDiscreteScheduler": "euler",
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
}
"""What each scheduler that is understood is called here."""


@dataclass(frozen=True, kw_only=True)
class PublishedSpec(ABC):
    """The description of a folder in the diffusers layout."""

    folder: Path
    dit: Any
    """The configuration of the transformer, of whichever kind."""
    vae: VAESizes
    scheduler: dict[str, Any]
    """`scheduler_config.json`; see `videogen.diffusion.published`."""

    @property
    @abstractmethod
    def sampling(self) -> dict[str, Any]:
        """Recommended sampling defaults: any sampling field of a `ClipRequest`."""

    @property
    @abstractmethod
    def text(self) -> TextConfig:
        """The text encoder: its kind, its width, and how many tokens prompts have."""

    @property
    @abstractmethod
    def patch(self) -> tuple[int, int]:
        """Latent cells per token along h and w."""

    @property
    def kind(self) -> str:
        """What the model is called, whatever its folder is."""
        return type(self).__name__.removesuffix("Spec")

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def sampler(self) -> str:
        """The sampler that the folder's scheduler stands for."""
        return SAMPLERS.get(str(self.scheduler.get("_class_name")), "euler")

    @property
    def takes_image(self) -> bool:
        """Whether clips start from a picture."""
        return False

    @property
    def takes_last_image(self) -> bool:
        """Whether clips also end with a picture, which no request can say."""
        return False

    @property
    def digest(self) -> str:
        """sha256 over the configuration and the sha256 of every file; reads them all, once."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        said = to_plain(self)
        said["folder"] = file_digests(self.folder)
        text = json.dumps([type(self).__name__, said], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Shape `c t h w` of the latents of a clip; the last may hold frames beyond its end."""
        vae = self.vae
        side = vae.space_factor
        return vae.latent_channels, vae.latent_frames(num_frames), height // side, width // side

    def check_size(self, num_frames: int, height: int, width: int) -> None:
        """Raise unless the model can make clips of this size; any number of frames is fine.

        Raises:
            InvalidRequestError: names the field, why, and the nearest legal values.
        """
        check_sides(height, width, self.vae.space_factor, self.patch)
