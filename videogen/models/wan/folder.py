"""A Wan folder in the diffusers layout, loaded."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from videogen.errors import InvalidRequestError
from videogen.models.folders import load_component
from videogen.models.image_transformers import CLIPImageEncoder, load_image_encoder
from videogen.models.latents import channel_statistics
from videogen.models.meta import on_meta
from videogen.models.text import TextEncoder
from videogen.models.text_transformers import load_text_encoder
from videogen.models.wan.config import WanConfig
from videogen.models.wan.experts import NoiseExperts
from videogen.models.wan.first_frame import first_frame_latents
from videogen.models.wan.spec import WanSpec, read_wan_spec
from videogen.models.wan.transformer import FLOAT32_PARTS, KnownFrames, WanTransformer
from videogen.models.wan.vae import WanVAE

UNUSED_KEYS = ("norm_added_q.weight",)


@dataclass(frozen=True)
class WanModel:
    """A loaded Wan model: modules in evaluation mode on one device."""

    spec: WanSpec
    dit: WanTransformer | NoiseExperts
    vae: WanVAE
    text: TextEncoder
    image: CLIPImageEncoder | None

    def denormalise(self, latents: Tensor) -> Tensor:
        """Latents `b c t h w` as the DiT sees them, to latents as the VAE decodes them."""
        mean, std = self._statistics(latents)
        return latents * std + mean

    def normalise(self, latents: Tensor) -> Tensor:
        """The inverse of `denormalise`."""
        mean, std = self._statistics(latents)
        return (latents - mean) / std

    def first_frame_latents(
        self, first: Tensor, num_frames: int, last: Tensor | None = None
    ) -> Tensor:
        """Mask and latents of a clip of `num_frames` that starts with `first`, `b 3 h w`."""
        mean, std = self._statistics(first.float())
        return first_frame_latents(self.vae, mean, std, first, num_frames, last)

    def told_of(self, picture: np.ndarray, num_frames: int) -> dict[str, Any]:
        """What the transformer is given beside the text; see `StartsFromPicture`.

        Raises:
            InvalidRequestError: the model wants a last frame as well.
        """
        if self.spec.dit.pos_embed_seq_len is not None:
            raise InvalidRequestError(
                f"image: got one picture, expected a first and a last one, which {self.spec.name} "
                "was trained with. Fix: use an image-to-video model of one picture."
            )
        device = next(self.vae.parameters()).device
        pixels = torch.from_numpy(picture.copy()).to(device).permute(2, 0, 1)[None]
        latents = self.first_frame_latents(pixels.float() / 127.5 - 1, num_frames)
        tokens = None if self.image is None else self.image.encode(picture)
        return {"known": KnownFrames(latents, tokens)}

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config = self.spec.vae
        return channel_statistics(like, config.latents_mean, config.latents_std)


def load_wan(
    folder: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    dit_device: str | torch.device | None = None,
    text_dtype: torch.dtype | None = None,
) -> WanModel:
    """Load a Wan folder in the diffusers layout.

    Args:
        dtype: of transformers and text encoder, but for the parts that were trained in float32;
            the VAE and the image encoder are in float32.
        dit_device: where the transformers are loaded to, if elsewhere.
        text_dtype: of the text encoder, if another one.

    Raises:
        WeightsError: a file is missing, truncated, a pickle, or its keys or shapes do not fit.
        ConfigError: see `read_wan_spec`.
    """
    spec = read_wan_spec(Path(folder))
    root = spec.folder
    place = device if dit_device is None else dit_device
    dit: WanTransformer | NoiseExperts = _load_dit(spec.dit, root / "transformer", place, dtype)
    if spec.low_noise_dit is not None and spec.boundary_ratio is not None:
        low = _load_dit(spec.low_noise_dit, root / "transformer_2", place, dtype)
        dit = NoiseExperts(dit, low, spec.boundary_ratio * _train_timesteps(spec)).eval()
    with on_meta():
        vae = WanVAE(spec.vae)
    load_component(vae, root / "vae", device)
    image = None
    if spec.dit.image_dim is not None:
        image = load_image_encoder(root / "image_encoder", root / "image_processor", device)
    return WanModel(
        spec=spec,
        dit=dit,
        vae=vae,
        text=load_text_encoder(spec.text, root, device, text_dtype or dtype, clean=clean_prompt),
        image=image,
    )


def _load_dit(
    config: WanConfig, folder: Path, device: str | torch.device, dtype: torch.dtype
) -> WanTransformer:
    with on_meta():
        dit = WanTransformer(config)
    load_component(dit, folder, device, dtype, FLOAT32_PARTS, UNUSED_KEYS)
    return dit


def _train_timesteps(spec: WanSpec) -> int:
    return int(spec.scheduler.get("num_train_timesteps", 1000))


def clean_prompt(prompt: str) -> str:
    """A prompt as the text encoder was trained with: plain characters, single spaces.

    What ftfy mends matters most for Chinese, whose punctuation it narrows.
    """
    import ftfy  # a tenth of a second, and only for this

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(prompt))).split())
