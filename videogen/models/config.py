"""Model configurations: frozen dataclasses that `model.yaml` and the presets are read into."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from videogen.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """A causal 3D video VAE with 4x temporal and 8x spatial compression."""

    latent_channels: int = 16
    pixel_shuffle: int = 4
    """Pixels folded into channels before the first convolution, per side: 4 or 2."""
    widths: tuple[int, int, int] = (48, 64, 128)
    """Channels at full frame rate, half frame rate, and in the latent grid."""
    encoder_blocks: tuple[int, int, int] = (1, 1, 1)
    decoder_blocks: tuple[int, int, int] = (2, 1, 2)
    detail_width: int = 24
    """Channels of the decoder's last stage, at half the resolution of the frames."""
    detail_blocks: int = 2

    def __post_init__(self) -> None:
        if self.pixel_shuffle not in (2, 4):
            raise ConfigError(f"vae.pixel_shuffle: got {self.pixel_shuffle}, expected 2 or 4.")

    @property
    def time_factor(self) -> int:
        """Frames per latent frame after the first, which stands alone."""
        return 4

    @property
    def space_factor(self) -> int:
        """Pixels per latent cell and side."""
        return 8

    def latent_frames(self, num_frames: int) -> int:
        """Latent frames that hold at least `num_frames` frames."""
        return -(-(num_frames - 1) // self.time_factor) + 1

    def frames(self, latent_frames: int) -> int:
        """Frames of the first `latent_frames` latent frames of a clip."""
        return max(0, self.time_factor * (latent_frames - 1) + 1)

    @property
    def decoder_past(self) -> int:
        """Latent frames before one that its frames depend on: each tap of a kernel looks back."""
        latent, half, full = self.decoder_blocks
        taps = 2 * 2  # two stages of a block, two past frames each
        halves = 2 + taps * half  # at two frames per latent frame, with the second upsampling
        return 2 + 2 + taps * latent + -(-halves // 2) + -(-taps * full // self.time_factor)


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """A spacetime diffusion transformer (Peebles & Xie 2023, with factorized video attention)."""

    in_channels: int = 16
    width: int = 192
    depth: int = 6
    num_heads: int = 6
    mlp_ratio: float = 4.0
    patch: tuple[int, int, int] = (1, 2, 2)
    """Latent cells per token along t, h, w."""
    text_width: int = 192
    attention: Literal["factorized", "joint", "windowed"] = "factorized"
    window: int = 4
    """Windowed attention: tokens see this many latent frames to either side."""
    causal: bool = False
    """Whether attention across frames looks only back."""
    rope_theta: float = 10000.0
    detail_depth: int = 0
    """Blocks at single latent cells, behind those at patches; see `videogen.models.detail`."""
    detail_width: int = 96
    """Channels of these blocks."""

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise ConfigError(
                f"dit.num_heads: got {self.num_heads}, expected a divisor of width {self.width}."
            )
        if self.head_width % 2:
            raise ConfigError(
                f"dit.width: got {self.head_width} per head, expected an even number for RoPE."
            )
        if self.patch[0] != 1:
            raise ConfigError(
                f"dit.patch: got {self.patch}, expected 1 along t, because the timestep is "
                "per latent frame."
            )
        if self.detail_depth and self.detail_width % (2 * self.num_heads):
            raise ConfigError(
                f"dit.detail_width: got {self.detail_width}, expected a multiple of "
                f"{2 * self.num_heads}, an even number for each of {self.num_heads} heads."
            )

    @property
    def head_width(self) -> int:
        return self.width // self.num_heads

    @property
    def detail(self) -> DiTConfig | None:
        """The blocks at single latent cells, if there are any: as many heads, the same text."""
        if not self.detail_depth:
            return None
        return replace(
            self,
            width=self.detail_width,
            depth=self.detail_depth,
            patch=(1, 1, 1),
            text_width=self.width,
            detail_depth=0,
        )


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """A text encoder: the small word-level one, or a transformers folder."""

    kind: Literal["words", "clip", "t5", "umt5"] = "words"
    width: int = 192
    depth: int = 2
    num_heads: int = 6
    max_tokens: int = 48
    path: str = ""
    """Folder of the pretrained encoder, relative to the model folder; unused by `words`."""
