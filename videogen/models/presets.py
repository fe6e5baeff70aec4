"""Model sizes that are ready to train, from the one that ships to more than two billion parameters.

All are factorized DiTs on latents 4x shorter and 8x8 smaller than the clip. `configs/model/` holds
the same table as YAML, one file a preset, to copy and change.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from videogen.config import load_dataclass, load_yaml
from videogen.errors import ConfigError
from videogen.models.config import DiTConfig, TextConfig, VAEConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.meta import on_meta
from videogen.models.spec import LatentStatistics, ModelSpec
from videogen.models.text import WordEncoder
from videogen.models.vae import VideoVAE
from videogen.registry import Registry


@dataclass(frozen=True, kw_only=True)
class ClipSize:
    """The clips that a model is meant to be trained on and asked for."""

    num_frames: int
    height: int
    width: int
    fps: float


@dataclass(frozen=True, kw_only=True)
class ModelPreset:
    """DiT, VAE and text encoder that fit each other, and the clips they are sized for."""

    schema: Literal[1] = 1
    name: str
    description: str
    dit: DiTConfig
    vae: VAEConfig
    text: TextConfig
    clip: ClipSize

    def __post_init__(self) -> None:
        if self.dit.in_channels != self.vae.latent_channels:
            raise ConfigError(
                f"dit.in_channels: got {self.dit.in_channels}, expected "
                f"{self.vae.latent_channels}, the vae.latent_channels of '{self.name}'."
            )
        if self.dit.text_width != self.text.width:
            raise ConfigError(
                f"dit.text_width: got {self.dit.text_width}, expected {self.text.width}, "
                f"the text.width of '{self.name}'."
            )
        self._check_clip()

    def _check_clip(self) -> None:
        size = self.clip
        self.spec().check_size(size.num_frames, size.height, size.width)
        whole = self.vae.frames(self.vae.latent_frames(size.num_frames))
        if size.num_frames != whole:
            factor = self.vae.time_factor
            raise ConfigError(
                f"clip.num_frames: got {size.num_frames}, expected {factor}n+1 "
                f"({whole - factor}, {whole}), because the VAE compresses time by {factor} and "
                "trains on whole latent frames."
            )

    def spec(self) -> ModelSpec:
        """The description of a model of this size before training: latents not yet measured."""
        channels = self.vae.latent_channels
        return ModelSpec(
            name=self.name,
            dit=self.dit,
            vae=self.vae,
            text=self.text,
            latents=LatentStatistics(mean=(0.0,) * channels, std=(1.0,) * channels),
            sampling=asdict(self.clip),
        )


@dataclass(frozen=True)
class ParameterCounts:
    """Parameters by part; `text` is None where the encoder is a pretrained folder of its own."""

    dit: int
    vae: int
    text: int | None
    image: int = 0
    """Of an image encoder."""

    @property
    def total(self) -> int:
        return self.dit + self.vae + (self.text or 0) + self.image


def count_parameters(spec: ModelSpec) -> ParameterCounts:
    """Count the parameters of a model without allocating them."""
    with on_meta():
        dit, vae = SpacetimeDiT(spec.dit), VideoVAE(spec.vae)
        text = WordEncoder(spec.text, spec.vocabulary) if spec.text.kind == "words" else None
    return ParameterCounts(_count(dit), _count(vae), None if text is None else _count(text))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def load_preset(path: str | Path) -> ModelPreset:
    """Read a preset from YAML.

    Raises:
        ConfigError: a field is unknown, missing, of the wrong type, or does not fit the others.
    """
    return load_dataclass(ModelPreset, load_yaml(path), str(path))


PACKAGED = {"default-wide": "one or two objects, textures and a moving camera"}
"""Models that ship with the package beside the presets, and what they are."""

_MEDIUM_VAE = VAEConfig(
    widths=(96, 192, 384),
    pixel_shuffle=2,
    encoder_blocks=(2, 2, 2),
    decoder_blocks=(3, 3, 3),
    detail_width=96,
    detail_blocks=1,
)
_LARGE_VAE = VAEConfig(
    widths=(128, 256, 512),
    pixel_shuffle=2,
    encoder_blocks=(2, 2, 2),
    decoder_blocks=(3, 3, 3),
    detail_width=128,
    detail_blocks=1,
)

_DEFAULT = ModelPreset(
    name="default",
    description="ships with the package; trains on two CPU cores",
    dit=DiTConfig(width=192, depth=6, num_heads=6, text_width=192, rope_theta=100.0),
    vae=VAEConfig(),
    text=TextConfig(kind="words", width=192, depth=2, num_heads=6, max_tokens=48),
    clip=ClipSize(num_frames=17, height=64, width=64, fps=12.0),
)
_SMALL = ModelPreset(
    name="small",
    description="one consumer GPU; CLIP ViT-L/14 text",
    dit=DiTConfig(width=384, depth=7, num_heads=6, text_width=768, rope_theta=100.0),
    vae=VAEConfig(
        widths=(96, 128, 256),
        encoder_blocks=(1, 1, 2),
        decoder_blocks=(2, 2, 2),
        detail_width=48,
    ),
    text=TextConfig(kind="clip", width=768, max_tokens=77, path="text_encoder"),
    clip=ClipSize(num_frames=33, height=128, width=128, fps=12.0),
)
_BASE = ModelPreset(
    name="base",
    description="one data-centre GPU; T5 v1.1 large text",
    dit=DiTConfig(width=640, depth=11, num_heads=10, text_width=1024),
    vae=_MEDIUM_VAE,
    text=TextConfig(kind="t5", width=1024, max_tokens=128, path="text_encoder"),
    clip=ClipSize(num_frames=49, height=256, width=256, fps=12.0),
)
_LARGE = ModelPreset(
    name="large",
    description="a node of GPUs; T5 v1.1 XL text",
    dit=DiTConfig(width=1024, depth=15, num_heads=16, text_width=2048),
    vae=_MEDIUM_VAE,
    text=TextConfig(kind="t5", width=2048, max_tokens=226, path="text_encoder"),
    clip=ClipSize(num_frames=65, height=384, width=640, fps=16.0),
)
_XL = ModelPreset(
    name="xl",
    description="several nodes; T5 v1.1 XXL text",
    dit=DiTConfig(width=1152, depth=28, num_heads=18, text_width=4096),
    vae=_LARGE_VAE,
    text=TextConfig(kind="t5", width=4096, max_tokens=226, path="text_encoder"),
    clip=ClipSize(num_frames=81, height=480, width=832, fps=16.0),
)
_XXL = ModelPreset(
    name="xxl",
    description="several nodes; UMT5 XXL text, many languages",
    dit=DiTConfig(width=2048, depth=20, num_heads=16, text_width=4096),
    vae=_LARGE_VAE,
    text=TextConfig(kind="umt5", width=4096, max_tokens=512, path="text_encoder"),
    clip=ClipSize(num_frames=121, height=704, width=1280, fps=24.0),
)

PRESETS: Registry[ModelPreset] = Registry(
    "model", {preset.name: preset for preset in (_DEFAULT, _SMALL, _BASE, _LARGE, _XL, _XXL)}
)
