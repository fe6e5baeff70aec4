"""What a Wan folder in the diffusers layout says about itself; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videogen.errors import ConfigError
from videogen.models.config import TextConfig
from videogen.models.descriptions import read_config, read_json
from videogen.models.published_spec import PublishedSpec
from videogen.models.wan.config import WanConfig
from videogen.models.wan.vae_config import WanVAEConfig

PIPELINES = ("WanPipeline", "WanImageToVideoPipeline")
TEXT_TOKENS = 512
"""Tokens of every prompt, padding included, that the models were trained with."""
FLOW_SHIFTS = ((0, 3.0), (1280 * 720 * 3 // 4, 5.0))
"""Flow shifts by the pixels of a frame from which they are used: 3 to 480P, 5 from 720P."""


@dataclass(frozen=True, kw_only=True)
class WanSpec(PublishedSpec):
    """What a Wan folder holds, read without touching its weights."""

    dit: WanConfig
    low_noise_dit: WanConfig | None
    """The second transformer of Wan 2.2."""
    boundary_ratio: float | None
    vae: WanVAEConfig

    @property
    def text(self) -> TextConfig:
        return TextConfig(kind="umt5", width=self.dit.text_dim, max_tokens=TEXT_TOKENS)

    @property
    def kind(self) -> str:
        return "Wan 2.1" if self.low_noise_dit is None else "Wan 2.2"

    @property
    def takes_image(self) -> bool:
        return self.dit.condition_channels > 0

    @property
    def takes_last_image(self) -> bool:
        return self.dit.pos_embed_seq_len is not None

    @property
    def sampling(self) -> dict[str, Any]:
        return {
            "num_frames": 81,
            "height": 480,
            "width": 832,
            "fps": 16.0,
            "num_inference_steps": 50,
            "sampler": self.sampler,
            "flow_shifts": FLOW_SHIFTS,
            "guidance_scale": 5.0,
        }

    @property
    def patch(self) -> tuple[int, int]:
        return self.dit.patch_size[1:]


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
