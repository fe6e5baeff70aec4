"""What `config.json` of an image VAE says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videogen.errors import ConfigError

CLASSES = {"AutoencoderKL": False, "AutoencoderKLTemporalDecoder": True}
"""Published classes, and whether their decoder works across frames."""
FRAMES_TOGETHER = 14
"""Frames that a decoder across frames sees at once, as in the reference."""
IGNORED = ("sample_size", "force_upcast")
"""The size it was trained on, and a hint for half precision; it runs in float32 here."""


@dataclass(frozen=True, kw_only=True)
class ImageVAEConfig:
    """An image VAE; fields are called as in the published `config.json`."""

    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    down_block_types: tuple[Literal["DownEncoderBlock2D"], ...] = ("DownEncoderBlock2D",) * 4
    up_block_types: tuple[Literal["UpDecoderBlock2D"], ...] = ("UpDecoderBlock2D",) * 4
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    act_fn: Literal["silu"] = "silu"
    latent_channels: int = 4
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215
    shift_factor: None = None
    latents_mean: None = None
    latents_std: None = None
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True
    across_frames: bool = False
    """Whether the decoder works across frames; said by the class of the published VAE."""

    def __post_init__(self) -> None:
        if len(self.down_block_types) != len(self.block_out_channels):
            raise ConfigError(
                f"down_block_types: got {len(self.down_block_types)}, expected "
                f"{len(self.block_out_channels)}, one for each of block_out_channels."
            )

    @property
    def time_factor(self) -> int:
        """Frames per latent frame."""
        return 1

    @property
    def space_factor(self) -> int:
        """Pixels per latent cell and side."""
        return 2 ** (len(self.block_out_channels) - 1)

    @property
    def decoder_past(self) -> int:
        """Latent frames before one that its frames depend on: none is carried."""
        return 0

    def latent_frames(self, num_frames: int) -> int:
        return num_frames

    def frames(self, latent_frames: int) -> int:
        return latent_frames
