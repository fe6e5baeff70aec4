"""A Wan folder in the diffusers layout: its description without weights, and the loaded model."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videogen.errors import ConfigError
from videogen.models.config import TextConfig
from videogen.models.folders import load_component, read_config, read_json
from videogen.models.image_transformers import CLIPImageEncoder, load_image_encoder
from videogen.models.meta import on_meta
from videogen.models.published_spec import PublishedSpec
from videogen.models.text import TextEncoder
from videogen.models.text_transformers import load_text_encoder
from videogen.models.wan.config import WanConfig
from videogen.models.wan.experts import NoiseExperts
from videogen.models.wan.first_frame import first_frame_latents
from videogen.models.wan.transformer import FLOAT32_PARTS, WanTransformer
from videogen.models.wan.vae import WanVAE
from videogen.models.wan.vae_config import WanVAEConfig

PIPELINES = ("WanPipeline", "WanImageToVideoPipeline")
TEXT_TOKENS = 512
"""Tokens of every prompt, padding included, that the models were trained with."""
HD_PIXELS = 1280 * 720 * 3 // 4
"""Pixels of a frame from which the flow shift of 720P is used."""
UNUSED_KEYS = ("norm_added_q.weight",)


@dataclass(frozen=True, kw_only=True)
class WanSpec(PublishedSpec):
    """What a Wan folder holds, read without touching its weights."""

    dit: WanConfig
    low_noise_dit: WanConfig | None
    """The second transformer of Wan 2.2."""
    boundary_ratio: float | None
    vae: WanVAEConfig

    @property
    def takes_image(self) -> bool:
        return self.dit.condition_channels > 0

    @property
    def sampling(self) -> dict[str, Any]:
        return {
            "num_frames": 81,
            "height": 480,
            "width": 832,
            "fps": 16.0,
            "num_inference_steps": 50,
            "sampler": self.sampler,
            "guidance_scale": 5.0,
        }

    @property
    def patch(self) -> tuple[int, int]:
        return self.dit.patch_size[1:]

    @property
    def _vae(self) -> WanVAEConfig:
        return self.vae

    def flow_shift(self, height: int, width: int) -> float:
        """The flow shift to use for a size, unless asked for another: 3 to 480P, 5 from 720P."""
        return 5.0 if height * width >= HD_PIXELS else 3.0


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

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config = self.spec.vae
        mean, std = (like.new_tensor(v) for v in (config.latents_mean, config.latents_std))
        return mean.view(1, -1, 1, 1, 1), std.view(1, -1, 1, 1, 1)


def is_wan_folder(folder: Path) -> bool:
    """Whether a folder is a Wan pipeline in the diffusers layout."""
    index = folder / "model_index.json"
    return index.is_file() and read_json(index).get("_class_name") in PIPELINES


def read_wan_spec(folder: Path) -> WanSpec:
    """Read and check the description of a Wan folder.

    Raises:
        WeightsError: a description is missing.
        ConfigError: it says something unknown or not supported; names file and field.
    """
    path = folder / "model_index.json"
    index = read_json(path)
    if index.get("_class_name") not in PIPELINES:
        raise ConfigError(
            f"{path}: _class_name: got '{index.get('_class_name')}', expected "
            f"{' or '.join(PIPELINES)}. Fix: give the folder of a Wan model."
        )
    if index.get("expand_timesteps"):
        raise ConfigError(
            f"{path}: expand_timesteps: got true, expected false, because Wan2.2-TI2V-5B is not "
            "supported. Fix: use a Wan 2.1 model, or Wan 2.2 A14B."
        )
    two = (folder / "transformer_2").is_dir() and index.get("boundary_ratio") is not None
    return WanSpec(
        folder=folder,
        dit=_read_transformer(folder / "transformer"),
        low_noise_dit=_read_transformer(folder / "transformer_2") if two else None,
        boundary_ratio=float(index["boundary_ratio"]) if two else None,
        vae=read_config(WanVAEConfig, folder / "vae" / "config.json", "AutoencoderKLWan"),
        scheduler=read_json(folder / "scheduler" / "scheduler_config.json"),
    )


def _read_transformer(folder: Path) -> WanConfig:
    return read_config(WanConfig, folder / "config.json", "WanTransformer3DModel")


def load_wan(
    folder: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> WanModel:
    """Load a Wan folder in the diffusers layout.

    Args:
        dtype: of transformers and text encoder, but for the parts that were trained in float32;
            the VAE and the image encoder are in float32.

    Raises:
        WeightsError: a file is missing, truncated, a pickle, or its keys or shapes do not fit.
        ConfigError: see `read_wan_spec`.
    """
    spec = read_wan_spec(Path(folder))
    root = spec.folder
    dit: WanTransformer | NoiseExperts = _load_dit(spec.dit, root / "transformer", device, dtype)
    if spec.low_noise_dit is not None and spec.boundary_ratio is not None:
        low = _load_dit(spec.low_noise_dit, root / "transformer_2", device, dtype)
        dit = NoiseExperts(dit, low, spec.boundary_ratio * _train_timesteps(spec)).eval()
    with on_meta():
        vae = WanVAE(spec.vae)
    load_component(vae, root / "vae", device)
    text = TextConfig(kind="umt5", width=spec.dit.text_dim, max_tokens=TEXT_TOKENS)
    image = None
    if spec.dit.image_dim is not None:
        image = load_image_encoder(root / "image_encoder", root / "image_processor", device)
    return WanModel(
        spec=spec,
        dit=dit,
        vae=vae,
        text=load_text_encoder(text, root, device, dtype, clean=clean_prompt),
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
    """A prompt as the text encoder was trained with: no HTML entities, single spaces."""
    return " ".join(html.unescape(html.unescape(prompt)).split())
