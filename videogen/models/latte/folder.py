"""A Latte folder in the diffusers layout, loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from videogen.models.folders import load_component
from videogen.models.image_vae.vae import ImageVAE, current_name
from videogen.models.latte.spec import Decoder, LatteSpec, read_latte_spec
from videogen.models.latte.text import LatteText, clean_prompt
from videogen.models.latte.transformer import LatteTransformer
from videogen.models.meta import on_meta
from videogen.models.text_transformers import load_text_encoder


@dataclass(frozen=True)
class LatteModel:
    """A loaded Latte model: modules in evaluation mode on one device."""

    spec: LatteSpec
    dit: LatteTransformer
    vae: ImageVAE
    text: LatteText

    def denormalise(self, latents: Tensor) -> Tensor:
        """Latents `b c t h w` as the DiT sees them, to latents as the VAE decodes them."""
        return latents / self.spec.vae.scaling_factor

    def normalise(self, latents: Tensor) -> Tensor:
        """The inverse of `denormalise`."""
        return latents * self.spec.vae.scaling_factor


def load_latte(
    folder: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    vae: Decoder = "vae",
    *,
    dit_device: str | torch.device | None = None,
    text_dtype: torch.dtype | None = None,
) -> LatteModel:
    """Load a Latte folder in the diffusers layout.

    Args:
        dtype: of transformer and text encoder; the VAE is in float32.
        vae: see `read_latte_spec`.
        dit_device: where the transformer is loaded to, if elsewhere.
        text_dtype: of the text encoder, if another one.

    Raises:
        WeightsError: a file is missing, truncated, a pickle, or its keys or shapes do not fit.
        ConfigError: see `read_latte_spec`.
    """
    spec = read_latte_spec(Path(folder), vae)
    with on_meta():
        dit, decoder = LatteTransformer(spec.dit), ImageVAE(spec.vae, spec.vae.across_frames)
    place = device if dit_device is None else dit_device
    load_component(dit, spec.folder / "transformer", place, dtype)
    load_component(decoder, spec.folder / vae, device, rename=current_name)
    reads = text_dtype or dtype
    encoder = load_text_encoder(spec.text, spec.folder, device, reads, clean=clean_prompt)
    return LatteModel(spec=spec, dit=dit, vae=decoder, text=LatteText(encoder))
