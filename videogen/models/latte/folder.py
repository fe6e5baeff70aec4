"""A Latte folder in the diffusers layout: its description without weights, and the loaded model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from videogen.errors import ConfigError
from videogen.models.config import TextConfig
from videogen.models.folders import load_component, read_config, read_json
from videogen.models.image_vae.config import CLASSES, IGNORED, ImageVAEConfig
from videogen.models.image_vae.vae import ImageVAE, current_name
from videogen.models.latte.config import LatteConfig
from videogen.models.latte.text import LatteText, clean_prompt
from videogen.models.latte.transformer import LatteTransformer
from videogen.models.meta import on_meta
from videogen.models.published_spec import PublishedSpec
from videogen.models.text_transformers import load_text_encoder

PIPELINES = ("LattePipeline",)
TEXT_TOKENS = 120
Decoder = Literal["vae", "vae_temporal_decoder"]


@dataclass(frozen=True, kw_only=True)
class LatteSpec(PublishedSpec):
    """What a Latte folder holds, read without touching its weights."""

    dit: LatteConfig
    vae: ImageVAEConfig
    vae_folder: str
    across_frames: bool
    """Whether the VAE's decoder works across frames."""

    @property
    def sampling(self) -> dict[str, Any]:
        side = self.dit.sample_size * self.vae.space_factor
        return {
            "num_frames": self.dit.video_length,
            "height": side,
            "width": side,
            "fps": 8.0,
            "num_inference_steps": 50,
            "sampler": self.sampler,
            "guidance_scale": 7.5,
        }

    @property
    def patch(self) -> tuple[int, int]:
        return self.dit.patch_size, self.dit.patch_size

    @property
    def _vae(self) -> ImageVAEConfig:
        return self.vae


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


def read_latte_spec(folder: Path, vae: Decoder = "vae") -> LatteSpec:
    """Read and check the description of a Latte folder.

    Args:
        vae: which of the folder's decoders to use; the temporal one flickers less.

    Raises:
        WeightsError: a description is missing.
        ConfigError: it says something unknown or not supported; names file and field.
    """
    path = folder / "model_index.json"
    kind = read_json(path).get("_class_name")
    if kind not in PIPELINES:
        raise ConfigError(
            f"{path}: _class_name: got '{kind}', expected {' or '.join(PIPELINES)}. "
            "Fix: give the folder of a Latte model."
        )
    vae_path = folder / vae / "config.json"
    return LatteSpec(
        folder=folder,
        dit=read_config(
            LatteConfig, folder / "transformer" / "config.json", "LatteTransformer3DModel"
        ),
        vae=read_config(ImageVAEConfig, vae_path, list(CLASSES), IGNORED),
        vae_folder=vae,
        across_frames=CLASSES[read_json(vae_path)["_class_name"]],
        scheduler=read_json(folder / "scheduler" / "scheduler_config.json"),
    )


def load_latte(
    folder: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    vae: Decoder = "vae",
) -> LatteModel:
    """Load a Latte folder in the diffusers layout.

    Args:
        dtype: of transformer and text encoder; the VAE is in float32.
        vae: see `read_latte_spec`.

    Raises:
        WeightsError: a file is missing, truncated, a pickle, or its keys or shapes do not fit.
        ConfigError: see `read_latte_spec`.
    """
    spec = read_latte_spec(Path(folder), vae)
    with on_meta():
        dit, decoder = LatteTransformer(spec.dit), ImageVAE(spec.vae, spec.across_frames)
    load_component(dit, spec.folder / "transformer", device, dtype)
    load_component(decoder, spec.folder / vae, device, rename=current_name)
    text = TextConfig(kind="t5", width=spec.dit.caption_channels, max_tokens=TEXT_TOKENS)
    encoder = load_text_encoder(text, spec.folder, device, dtype, clean=clean_prompt)
    return LatteModel(spec=spec, dit=dit, vae=decoder, text=LatteText(encoder))
