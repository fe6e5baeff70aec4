"""What a Latte folder in the diffusers layout says about itself; torch-free."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from videogen.errors import ConfigError
from videogen.models.config import TextConfig
from videogen.models.descriptions import read_config, read_json
from videogen.models.image_vae.config import CLASSES, IGNORED, ImageVAEConfig
from videogen.models.latte.config import LatteConfig
from videogen.models.published_spec import PublishedSpec

PIPELINES = ("LattePipeline",)
Decoder = Literal["vae", "vae_temporal_decoder"]
DECODERS: tuple[Decoder, ...] = get_args(Decoder)
TEXT_TOKENS = 120
"""Tokens of a prompt at most, as in training."""


@dataclass(frozen=True, kw_only=True)
class LatteSpec(PublishedSpec):
    """What a Latte folder holds, read without touching its weights."""

    dit: LatteConfig
    vae: ImageVAEConfig
    vae_folder: Decoder

    @property
    def kind(self) -> str:
        return "Latte"

    @property
    def text(self) -> TextConfig:
        return TextConfig(kind="t5", width=self.dit.caption_channels, max_tokens=TEXT_TOKENS)

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
    decoder = read_config(ImageVAEConfig, vae_path, list(CLASSES), IGNORED)
    return LatteSpec(
        folder=folder,
        dit=read_config(
            LatteConfig, folder / "transformer" / "config.json", "LatteTransformer3DModel"
        ),
        vae=replace(decoder, across_frames=CLASSES[read_json(vae_path)["_class_name"]]),
        vae_folder=vae,
        scheduler=read_json(folder / "scheduler" / "scheduler_config.json"),
    )
