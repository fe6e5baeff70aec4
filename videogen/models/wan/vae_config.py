"""What `vae/config.json` of a Wan folder says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from videogen.errors import ConfigError

LATENTS_MEAN = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
LATENTS_STD = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)


@dataclass(frozen=True, kw_only=True)
class WanVAEConfig:
    """The Wan 2.1 VAE; fields are called as in the published `config.json`."""

    base_dim: int = 96
    decoder_base_dim: int | None = None
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attn_scales: tuple[float, ...] = ()
    temperal_downsample: tuple[bool, ...] = (False, True, True)
    dropout: float = 0.0
    latents_mean: tuple[float, ...] = LATENTS_MEAN
    latents_std: tuple[float, ...] = LATENTS_STD
    is_residual: Literal[False] = False
    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    patch_size: None = None
    scale_factor_temporal: int = 4
    scale_factor_spatial: int = 8

    def __post_init__(self) -> None:
        if self.attn_scales:
            raise ConfigError(
                f"attn_scales: got {self.attn_scales}, expected none, as in Wan 2.1. "
                "Fix: take config.json from the folder of the weights."
            )
        if len(self.temperal_downsample) != len(self.dim_mult) - 1:
            raise ConfigError(
                f"temperal_downsample: got {len(self.temperal_downsample)} values, expected "
                f"{len(self.dim_mult) - 1}, one fewer than dim_mult."
            )
        told = self.scale_factor_temporal, self.scale_factor_spatial
        if told != (self.time_factor, self.space_factor):
            raise ConfigError(
                f"scale_factor_temporal: got {told[0]} and scale_factor_spatial {told[1]}, "
                f"expected {self.time_factor} and {self.space_factor}, what its stages amount to."
            )
        for values in (self.latents_mean, self.latents_std):
            if len(values) != self.z_dim:
                raise ConfigError(
                    f"latents_mean: got {len(values)} values of mean or std, expected "
                    f"{self.z_dim}. Fix: take config.json from the folder of the weights."
                )

    @property
    def latent_channels(self) -> int:
        return self.z_dim

    @property
    def time_factor(self) -> int:
        """Frames per latent frame after the first, which stands alone."""
        return 2 ** sum(self.temperal_downsample)

    @property
    def space_factor(self) -> int:
        """Pixels per latent cell and side."""
        return 2 ** (len(self.dim_mult) - 1)

    @property
    def decoder_past(self) -> int:
        """Latent frames before one that its frames depend on: each tap of a kernel looks back."""
        block = 2 * 2  # two convolutions, two past frames each
        rate, past = 1, 2 + 2 * block  # the first convolution and the middle
        for faster in (*reversed(self.temperal_downsample), False):
            frames = block * (self.num_res_blocks + 1) + (2 if faster else 0)
            past += math.ceil(frames / rate)
            rate *= 2 if faster else 1
        return past + math.ceil(2 / rate)

    @property
    def encoder_widths(self) -> list[int]:
        """Channels before and after each stage."""
        return [self.base_dim * factor for factor in (1, *self.dim_mult)]

    @property
    def decoder_widths(self) -> list[int]:
        base = self.decoder_base_dim or self.base_dim
        return [base * factor for factor in (self.dim_mult[-1], *reversed(self.dim_mult))]

    def frames(self, latent_frames: int) -> int:
        """Frames of the first `latent_frames` latent frames of a clip."""
        return max(0, self.time_factor * (latent_frames - 1) + 1)

    def latent_frames(self, num_frames: int) -> int:
        """Latent frames that hold at least `num_frames` frames."""
        return math.ceil((num_frames - 1) / self.time_factor) + 1
